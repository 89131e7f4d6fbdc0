-- Tokens that were revoked, by their jti, and subjects whose tokens were.
create table revocation (
	kind        text   not null, -- token or subject
	name        text   not null,
	at          bigint,          -- Unix seconds: when the token expires, null is never; or up to when those of the subject were issued
	revision    bigint not null,
	modified_at text   not null,
	primary key (kind, name)
);
create index revocation_revision on revocation (revision);
create index revocation_over on revocation (kind, at);
