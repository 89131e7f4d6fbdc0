// Package pgtest runs a real PostgreSQL for tests, from what is installed: in the PATH, or where Debian puts it. Without one,
// tests are skipped and say so, unless CHANSEC_POSTGRES_REQUIRED is 1: then they fail.
//
//	db, err := sql.Open("pgx", pgtest.Database(t))
//
// A server listens on a free loopback port, with a password, and on a socket in its folder. It is durable as it would
// be in production, unless CHANSEC_POSTGRES_FSYNC is off. It ends with the process that started it, also if that one is killed.
package pgtest
