-- Who can log in. The row of a deleted user stays: its login is null then, and old_login keeps it.
create table "user" (
	id          bigint  not null primary key,
	login       text    unique,
	fullname    text    not null,
	tzname      text    not null,
	password    text,             -- what logs in; null once it is erased
	salt        text,
	iterations  integer not null,
	key_id      text    not null, -- of the key that sealed the password; empty: none did
	old_login   text,
	inactive    boolean not null,
	revision    bigint  not null, -- of the family users, at the last change
	modified_by text    not null,
	modified_at text    not null
);
create index user_revision on "user" (revision);

-- The last number that was given out, of each table whose rows get theirs in the order of the commits.
create table serial (
	name text   not null primary key,
	last bigint not null
);
insert into serial (name, last) values ('user', 1), ('session', 0), ('activity', 0);

-- What this database alone knows, such as the key of what unknown users are shown.
create table server_key (
	name  text not null primary key,
	value text not null
);

insert into head (family, revision) values ('users', 0), ('sessions', 0), ('revocations', 0);
