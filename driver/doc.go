// Package driver is what a backend of a channel must do. A backend keeps entries in order, hands them to readers and to
// those who claim them, and wakes who waits; it knows no identities and decides nothing. The channel has asked its guard
// before it calls any method here, and looks at the guard's answer again before it hands on what came back. Programs do
// not use a backend: they open a channel over it with chansec.WithBackend.
//
// The package chansectest has TestDriver, which checks every sentence of this package on an implementation.
//
// # How it maps to NATS JetStream and to SQL
//
// The hard rows were tried on an embedded nats-server 2.15.2 with memory storage (nats.go 1.53.1), SQLite 3.40 and
// PostgreSQL 15.18. One channel is one stream with subjects channel.<box>.<key>, or the rows of one channel in the tables
// entries (channel, seq, id, time, box, key, value), claims (seq, attempt, consumer, session, deadline) and channels
// (last sequence, counters).
//
//	Append          JetStream: publish; the acknowledgement has the sequence, the server's time takes one more request.
//	                Head.Once is Nats-Msg-Id (a window of time; a retry answers "duplicate" with the old sequence).
//	                SQL: lock the channel's row, take its next sequence, insert, in one transaction. An identity column
//	                alone lets readers see a later sequence before an earlier one is committed.
//	AppendIf        JetStream: Nats-Expected-Last-Subject-Sequence, 0 for none; error 10071 is ErrConflict. A retry
//	                of one that had succeeded conflicts: look at Last and compare Head.Once.
//	                SQL: the same transaction, with the last sequence of the key read under the lock.
//	Keyed           JetStream: at most one message per subject, with discard new. SQL: delete the key's earlier row in the
//	                transaction of the insert.
//	Last            JetStream: last message of a subject. SQL: index on (channel, key, seq).
//	Newest          JetStream: last sequence of the stream's state; where its message is gone, the ID that the backend
//	                derives from the sequence. SQL: the channel's row.
//	Open, Next      JetStream: direct get in batches by sequence, or one consumer per view, shared by its readers: a
//	                server refuses some thousand consumers. A start behind the end must be clamped by the backend.
//	                SQL: seq > position and (box is '' or box = own), ordered by seq.
//	Batch.Missed    JetStream: the first sequence of the stream minus the position, which counts removed entries as well:
//	                AtMost. SQL: exact with a counter that retention writes.
//	Wake            JetStream: republish of the stream, which comes after the message is stored; plus a slow poll.
//	                PostgreSQL: NOTIFY in the transaction. SQLite: after commit within the process, and a poll.
//	Claim           JetStream: pull from a durable consumer with explicit acknowledgement. The deadline of a claim is set
//	                by a negative acknowledgement with a delay, straight after the fetch; AckWait bounds a crash.
//	                SQL: update ... where seq in (select ... for update skip locked), sorted; SQLite: begin immediate.
//	Receipt         JetStream accepts an acknowledgement of an earlier attempt, so the backend must fence: it compares the
//	                attempt with what it knows (or a marker in a key-value stream) before it sends anything.
//	                SQL: where seq = ? and attempt = ?.
//	Nack, Release   JetStream: a negative acknowledgement each. SQL: one update.
//	Extend          JetStream: a negative acknowledgement with the new delay. SQL: one update.
//	Ack             JetStream: acknowledge and wait; where readers share the stream, delete the message as well.
//	ErrFull         JetStream: error 10077, with discard new. SQL: a count in the channel's row.
//	Remove          JetStream: delete each message; 10043 is one that is gone. SQL: delete.
//	Evict, Clear    JetStream: purge up to a sequence (found by time), purge keeping n, purge. SQL: delete.
//	Len             JetStream: messages of the stream's state. SQL: a counter in the channel's row.
//
// What this asks of the interface: sequence numbers need not be dense, order among entries that were given back is free,
// a wake-up may come too early but never not at all, a failed Claim may leave entries out of sight until their
// deadline, and an Append may fail without anybody knowing whether it was stored.
package driver
