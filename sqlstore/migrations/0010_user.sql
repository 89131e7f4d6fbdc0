-- Who can log in. The row of a deleted user stays: its login is null then, and old_login keeps it.
CREATE TABLE "user" (
    id          BIGINT  NOT NULL PRIMARY KEY,
    login       TEXT    UNIQUE,
    fullname    TEXT    NOT NULL,
    tzname      TEXT    NOT NULL,
    password    TEXT,             -- what logs in; null once it is erased
    salt        TEXT,
    iterations  INTEGER NOT NULL,
    key_id      TEXT    NOT NULL, -- of the key that sealed the password; empty: none did
    old_login   TEXT,
    inactive    BOOLEAN NOT NULL,
    revision    BIGINT  NOT NULL, -- of the family users, at the last change
    modified_by BIGINT  REFERENCES "user" (id),
    modified_at TEXT    NOT NULL
);

CREATE INDEX user_revision ON "user" (revision);

-- The last number that was given out, of each table whose rows have one.
CREATE TABLE serial (
    name TEXT   NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);

INSERT INTO serial (name, last) VALUES ('user', 1), ('session', 0), ('activity', 0);

-- What this database alone knows, such as the key of what unknown users are shown.
CREATE TABLE server_key (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
