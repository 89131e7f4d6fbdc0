// Package sqlstore keeps what chansec decides by in a database, SQLite or PostgreSQL: policy, users, sessions, activity and
// revocations.
//
//	store, err := sqlstore.OpenSQLite(ctx, "chansec.db", sqlstore.Options{})
//	err = store.Policy().Update(ctx, policy.Root(), func(tx *policy.Tx) error {
//		tx.Grant("sensors", "com.home", "publish")
//		return tx.AssignRoles("sensor-1", "sensors")
//	})
//	security, err := chansec.Join(tokens, store.Authorizer(), tokens)
//
// # Decisions are made in memory
//
// Nothing that decides waits for the database. A store keeps a snapshot in memory, and follows the database: what any
// process changes, this one learns of by a notification (PostgreSQL), or within Options.Poll (SQLite, and wherever
// notifications are lost). That is how late a revocation by another process may be; here, it holds when Update
// returns. [Store.AtLeast] waits for a revision.
//
// While the database is away the last snapshot serves, for Options.MaxStaleness. After that every decision is an error that is
// chansec.ErrUndecided and a [StaleError], and open leases end, until the database can be asked again. A log with
// a hole, or a database that went back to an earlier state, is treated likewise, until somebody repairs it.
//
// # The policy in the database
//
// The truth is the table policy_change: every change in its order, as a script, with revisions that are dense, whoever
// makes them. Options.CompactAfter bounds it. Tables such as role, topic, topicrole and userrole (sqlauth.md 3) say what the changes lead to,
// for people and their tools. They are written in the same transaction, and not read: to change them by hand changes no
// decision, and [Store.Policy] is how a policy is changed. [Store.UpdateIn] does so in a transaction of the caller's.
//
// # Users, sessions, the log, and revocations
//
// [Store.Bootstrap] gives a new store its administrator, and an [Administration] does what administrators do (sqlauth.md 6),
// each checked against what they administer. [Users] log in by WAMP-CRA or by password; what logs them in is as good as their
// passwords, and sealed if there are UserOptions.Keys. Who is no active user is denied by Users.Authorizer, in memory.
// [Sessions] is a backend of the package session, [Activity] a store of the package audit, and [Revocations] a backend of a
// chansec.JWTSecurity; what one process ends or revokes, the others hear of like they hear of changes of the policy.
//
// # What is guaranteed
//
// What was acknowledged is durable, and nothing is ever there in part: with SQLite the database is in WAL mode with
// synchronous=full. Locks, deadlocks and serialization failures are waited for or tried again, and never returned from a
// transaction of the store's own. Times are kept as text in UTC, to the nanosecond. Text that PostgreSQL cannot hold, which is what is
// not UTF-8, or has a NUL, is refused by both with InvalidText. Migrations are made by whoever comes first; a schema
// of a newer version, or one that other migrations made, is refused.
package sqlstore
