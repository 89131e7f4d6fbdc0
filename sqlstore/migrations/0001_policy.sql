-- Revisions of what changes: every transaction that changes a family raises its revision.
create table head (
	family   text   not null primary key,
	revision bigint not null
);
insert into head (family, revision) values ('policy', 0);

-- The policy: its changes, with dense revisions. The first may be a whole state, of which all before it were part.
create table policy_change (
	revision bigint  not null primary key,
	whole    boolean not null,
	at       text    not null,
	actor    text    not null,
	script   text    not null
);
