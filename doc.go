// Package chansec lets programs wire channels together so that every read, write and subscription passes one guard. The
// guard asks a ChannelSecurity, which can be swapped without touching any other code, and its answer stays true for as
// long as the operation lasts: a revocation ends what is open.
//
//	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("sensor-1"), chansec.ACLRead("dashboard"))
//	readings, err := chansec.NewBroadcast[Reading]("readings", chansec.WithSecurity(acl))
//	err = readings.Start(ctx)
//
//	sensor, dashboard := readings.As("sensor-1"), readings.As("dashboard")
//	lease, err := dashboard.Subscribe(ctx)
//	_, err = sensor.Write(ctx, Reading{21.5})
//	for message, err := range lease.Messages(ctx) { ... }
//
// # Channels and ports
//
// There are five kinds of channel: PassthroughChannel, BroadcastChannel, WorkQueueChannel, MailboxChannel and KeyedChannel.
// A channel is opened for somebody, and what they hold is a port. As opens it for a system that the program itself wires
// in, and believes; For opens it for a Caller, whose credential was verified. A component that was handed a port cannot
// name anybody else. Ports are small interfaces (Writer, Reader, Subscriber, Worker, Keeper, Host), so that code does not
// know whether its channel is in this process.
//
// # Securities
//
// OpenSecurity lets everybody in, and is the default, with a warning, unless RequireSecurity is set. ACLSecurity decides by
// a list. JWTSecurity proves callers by signed tokens; with a RevocationBackend what it revokes survives a restart and
// reaches other processes. Join makes one of three parts, and a program's own ChannelSecurity needs five methods; the
// package chansectest tests it.
//
// # Over HTTP
//
// An HTTPTransport makes channels available: it authenticates every request by its bearer token and opens the channel for
// whoever that proves. Dial gives the ports of a channel behind one, with the same interfaces and errors.
//
// # Other packages
//
// Package policy decides by roles on hierarchical channels. Package authn finds out who is calling, session keeps who is here,
// and audit what was decided and done. Package rbac guards net/http services by roles.
//
// # What is guaranteed
//
// Nothing is allowed because something was missing: zero values, unknown names and errors deny. A token never reaches
// further than what it says, whatever wraps the security, since the guard itself enforces the bound that a Principal
// carries. After a revocation returned, no message whose write starts later reaches a lease, a read or a worker that
// it cut; those that are still allowed lose nothing. Every fresh decision makes one audit event.
//
// Ports made by As, and OpenSecurity and ACLSecurity altogether, believe names: they are for programs that trust what they
// wire together. Messages in memory are the values that were written, not copies: do not change what a message points to.
package chansec
