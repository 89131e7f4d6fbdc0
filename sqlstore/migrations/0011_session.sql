-- The processes that have sessions. A node is alive while its beat goes on.
create table node (
	name     text   not null primary key,
	instance text   not null, -- which run of it
	beat     bigint not null
);

-- Who is here, and who was. Rows stay.
create table session (
	id            bigint  not null primary key,
	name          text    not null unique,
	node          text    not null,
	login_id      bigint  references "user" (id), -- null: who logged in is no user here
	principal     text    not null,
	roles         text    not null,               -- as JSON
	transport     text    not null,
	remote_addr   text    not null,
	ab_session_id bigint  unique,                 -- the router's number; null once the session has ended
	number        bigint,                         -- the same, and stays
	tzname        text    not null,
	created       text    not null,
	ended         text,
	cause         text    not null,
	ended_by      text    not null,
	reason        text    not null,
	revision      bigint  not null,               -- of the family sessions, where somebody else ended it; or else 0
	created_by    text    not null,
	created_at    text    not null,
	modified_by   text    not null,
	modified_at   text    not null
);
create index session_open on session (node) where ended is null;
create index session_principal on session (principal) where ended is null;
create index session_login on session (login_id);
create index session_revision on session (node, revision) where revision > 0;
