// Package sqlstore keeps what chansec decides by in a database, SQLite or PostgreSQL: policy, users, sessions, activity and
// revocations.
package sqlstore
