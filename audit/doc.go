// Package audit is the trail of who did what: the decisions of channels, and what administrators do beside them.
//
//	file, err := audit.OpenFile(audit.FileConfig{Dir: "/var/lib/app/audit", Chain: true})
//	readings, err := chansec.NewBroadcast[Reading]("readings", chansec.WithSecurity(acl),
//		chansec.WithRequiredAudit(audit.Decisions(file)))
//	err = file.Record(ctx, audit.Record{Time: time.Now(), Kind: audit.KindSession, Operation: audit.OpKick,
//		Outcome: chansec.Allowed, Principal: "boss", Target: session, Reason: "left the company"})
//	for r, err := range file.Records(ctx, audit.Filter{Principal: "alice", NewestFirst: true, Limit: 20}) { ... }
//
// # Sinks
//
// A Sink takes records. [File] keeps them in files and [Ring] in memory, and both can be asked with a [Filter]; [Slog] logs
// them and [Measure] counts them. [Tee], [Sample], [NewAsync] and [NewOptional] make sinks of sinks. Whoever writes a store
// checks it with the package audittest.
//
// # What must be recorded, and what may be lost
//
// With [chansec.WithRequiredAudit] an operation is refused whose record the sink does not take. A File that syncs at once,
// which is the default, takes a record when it would survive a loss of power. That costs a sync, which all share who wait for
// one. A program that would rather lose the last records than wait puts an [Async] before the File:
//
//	file, err := audit.OpenFile(audit.FileConfig{Dir: dir})
//	async, err := audit.NewAsync(file, 0)
//	defer file.Close()
//	defer async.Close(ctx)
//	chansec.WithAudit(audit.Decisions(async))
//
// Nobody waits for it. It drops when it must, allowed decisions first, and never without a record of how many.
//
// # What is guaranteed
//
// After kill -9 a File has every record that its Record returned for, and an Async before it has lost what it had not handed
// over: a few milliseconds' worth while the disk keeps up, at most what the queue holds. After a loss of power a File that
// syncs at once has every record still; one with SyncEvery has all but that time's.
//
// [Verify] finds every record of a chained trail that was changed, moved or removed, within the limits that it names.
//
// Nothing here allows anything. Records hold names, ids and reasons; never a token, a password or a hash of one.
// [RedactScript] takes passwords out of scripts.
package audit
