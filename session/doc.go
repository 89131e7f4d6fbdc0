// Package session is who is here now. A session is a live chansec.Caller: whoever an authentication chain let in, as they are
// at each moment, until they leave, are kicked, or their time is over.
//
//	sessions, err := session.New(ctx, session.Config{Chain: chain, Permits: store.Permits})
//	alice, err := sessions.Open(ctx, &authn.Request{Principal: "alice", Credentials: password})
//	lease, err := prices.For(alice).Subscribe(ctx)
//	n, err := sessions.For(bob).Kick(ctx, session.OfPrincipal("alice"), "on holiday")
//
// What is open follows the session. After a kick returned, no message that is written later reaches a lease of the session,
// its claims go back to their queue, and its streams end, each with an EndedError as the reason. After a change of principal
// or of roles, or a refresh, each lease is looked at again: those that are still allowed lose nothing, the others end.
//
// # Over HTTP
//
// A session's token (Session.NewToken) is its credential on a chansec.HTTPTransport: Sessions is the chansec.Authenticator
// for it, to be joined with the authorizer of the channel. A session's ID is not a credential. It cannot be guessed, but it
// opens nothing, and it is listed, logged and recorded.
//
// # Who may do what
//
// A Session is for the transport that opened it, and acts on itself only. Everything about the sessions of others goes
// through an Admin, which belongs to somebody: For(caller) is asked for the permissions VIEW_SESSION, MODIFY_SESSION
// and AUTHENTICATE at every call (diffusion.md 8), and Root is the program itself.
//
// # Limits
//
// There are bounds to how many sessions there are, in all and for each principal, and to what one carries; what is over keeps
// no memory. A Backend, if there is one, keeps the records of sessions; a session that it does not take is not opened.
package session
