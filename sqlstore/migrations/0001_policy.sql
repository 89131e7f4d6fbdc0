-- Every transaction that changes a family raises its revision here.
create table head (
	family   text   not null primary key,
	revision bigint not null
);
insert into head (family, revision) values ('policy', 0);

-- The policy: its changes, with dense revisions. The first may be a whole state, which all before it were part of.
create table policy_change (
	revision bigint  not null primary key,
	whole    boolean not null,
	at       text    not null,
	actor    text    not null,
	script   text    not null
);

-- What follows says what the changes lead to, for people and their tools; it is written with them. The row "tables" of
-- head is the revision of the policy that it is at.
insert into head (family, revision) values ('tables', 0);

create table topic (
	id          {{identity}},
	name        text    not null unique,
	description text    not null default '',
	listed      boolean not null,
	isolated    boolean not null,
	modified_by text    not null,
	modified_at text    not null
);

create table role (
	id          {{identity}},
	name        text not null unique,
	description text not null default '',
	bind_to     bigint references topic (id),
	locked_by   text not null,
	modified_by text not null,
	modified_at text not null
);
create index role_bind_to on role (bind_to);

create table activity_type (
	id          text not null primary key,
	name        text not null,
	description text not null default ''
);
insert into activity_type (id, name, description) values
	('call', 'call', 'call a procedure'),
	('register', 'register', 'register a procedure'),
	('publish', 'publish', 'publish to a topic'),
	('subscribe', 'subscribe', 'subscribe to a topic'),
	('admin', 'admin', 'grant what is there and below'),
	('start', 'start', 'a session started'),
	('end', 'end', 'a session ended');

create table topicrole (
	id          {{identity}},
	topic_id    bigint  not null references topic (id),
	role_id     bigint  not null references role (id),
	type_id     text    not null references activity_type (id),
	allow       boolean not null default true,
	modified_by text    not null,
	modified_at text    not null,
	unique (topic_id, role_id, type_id, allow)
);
create index topicrole_role on topicrole (role_id);

-- login is a principal, who need not be among the users.
create table userrole (
	id          {{identity}},
	login       text   not null,
	role_id     bigint not null references role (id),
	until       text,
	modified_by text   not null,
	modified_at text   not null,
	unique (login, role_id)
);
create index userrole_role on userrole (role_id);

-- What sqlauth has no table for. Where the nearest assignment counts, one may be without
-- permissions, and hide what is above it.
create table assignment (
	id          {{identity}},
	topic_id    bigint not null references topic (id),
	role_id     bigint not null references role (id),
	modified_by text   not null,
	modified_at text   not null,
	unique (topic_id, role_id)
);
create index assignment_role on assignment (role_id);

create table rolepermission (
	id          {{identity}},
	role_id     bigint not null references role (id),
	scope       text   not null, -- 'default' or 'global'
	permission  text   not null,
	modified_by text   not null,
	modified_at text   not null,
	unique (role_id, scope, permission)
);

create table roleinclude (
	id          {{identity}},
	role_id     bigint not null references role (id),
	includes_id bigint not null references role (id),
	modified_by text   not null,
	modified_at text   not null,
	unique (role_id, includes_id)
);
create index roleinclude_includes on roleinclude (includes_id);

create table sessionrole (
	id          {{identity}},
	session     text   not null, -- 'named' or 'anonymous'
	role_id     bigint not null references role (id),
	modified_by text   not null,
	modified_at text   not null,
	unique (session, role_id)
);
create index sessionrole_role on sessionrole (role_id);
