-- What was done, or was to be. The columns before the record are for queries; the record is all of it, as JSON.
CREATE TABLE activity (
    id          BIGINT  NOT NULL PRIMARY KEY,
    session_id  BIGINT  REFERENCES session (id),
    topic_name  TEXT    NOT NULL,                  -- no reference: topics come and go
    type_id     TEXT    REFERENCES activity_type (id), -- null: no action of a router
    allow       BOOLEAN NOT NULL,
    at          TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    principal   TEXT    NOT NULL,
    session     TEXT    NOT NULL,                  -- its name
    operation   TEXT    NOT NULL,
    outcome     INTEGER NOT NULL,
    record      TEXT    NOT NULL,
    modified_by BIGINT  REFERENCES "user" (id),
    modified_at TEXT    NOT NULL
);

CREATE INDEX activity_session ON activity (session_id, id);
CREATE INDEX activity_principal ON activity (principal, id);
CREATE INDEX activity_topic ON activity (topic_name, id);
CREATE INDEX activity_at ON activity (at);
