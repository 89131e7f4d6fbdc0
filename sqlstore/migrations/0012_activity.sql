-- What was done, or was to be. The columns before the record are for queries; the record is all of it, as JSON.
create table activity (
	id          bigint  not null primary key,
	session_id  bigint  references session (id),
	topic_name  text    not null,                      -- no reference: topics come and go
	type_id     text    references activity_type (id), -- null: no action of a router
	allow       boolean not null,
	at          text    not null,
	kind        text    not null,
	principal   text    not null,
	session     text    not null,                      -- its name
	operation   text    not null,
	outcome     integer not null,
	record      text    not null,
	modified_by text    not null,
	modified_at text    not null
);
create index activity_session on activity (session_id, id);
create index activity_principal on activity (principal, id);
create index activity_topic on activity (topic_name, id);
create index activity_at on activity (at);
