-- The processes that have sessions. A node is alive while its beat goes on.
CREATE TABLE node (
    name     TEXT   NOT NULL PRIMARY KEY,
    instance TEXT   NOT NULL, -- which run of it
    beat     BIGINT NOT NULL
);

-- Who is here, and who was. Rows stay.
CREATE TABLE session (
    id            BIGINT NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL UNIQUE,
    node          TEXT   NOT NULL,
    login_id      BIGINT REFERENCES "user" (id), -- null: who logged in is no user here
    principal     TEXT   NOT NULL,
    roles         TEXT   NOT NULL,               -- as JSON
    transport     TEXT   NOT NULL,
    remote_addr   TEXT   NOT NULL,
    ab_session_id BIGINT UNIQUE,                 -- the router's number; null once the session has ended
    number        BIGINT,                        -- the same, and stays
    tzname        TEXT   NOT NULL,
    created       TEXT   NOT NULL,
    ended         TEXT,
    cause         TEXT   NOT NULL,
    ended_by      TEXT   NOT NULL,
    reason        TEXT   NOT NULL,
    revision      BIGINT NOT NULL,               -- of the family sessions, where another node ended it
    created_by    BIGINT REFERENCES "user" (id),
    created_at    TEXT   NOT NULL,
    modified_by   BIGINT REFERENCES "user" (id),
    modified_at   TEXT   NOT NULL
);

CREATE INDEX session_open ON session (node) WHERE ended IS NULL;
CREATE INDEX session_login ON session (login_id) WHERE ended IS NULL;
CREATE INDEX session_revision ON session (node, revision) WHERE revision > 0;
