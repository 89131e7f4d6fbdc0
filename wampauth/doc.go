// Package wampauth guards a realm of a WAMP router, github.com/gammazero/nexus/v3: who may log in, and what each session may
// call, register, subscribe and publish, as a policy says at that moment (sqlauth.md).
//
//	guard, err := wampauth.New(wampauth.Config{Policy: store.Authorizer(), Keys: users, Sessions: sessions, Activity: trail})
//	realm := &router.RealmConfig{URI: "realm1"}
//	err = guard.Protect(realm)
//	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{realm}}, nil)
//	err = guard.Start(ctx, r)
//	sockets := router.NewWebsocketServer(wampauth.CopyEvents(r))
//	err = guard.Serve(ctx, administration)
//	defer guard.Close(ctx) // before r.Close
//
// # Logging in
//
// There are two methods, and no other is accepted, nor is anonymity. With wampcra (sqlauth.md 8) a client proves a secret of
// which [Keys] knows what PBKDF2 made of it. Whoever asks for a login that does not exist gets a challenge like any other. With
// ticket the client shows a token for a chansec.Authenticator, such as a chansec.JWTSecurity; the session may do what the policy
// allows its subject and the token's grant covers: read is to subscribe, write is to publish and call as well, admin is to
// register, too. A grant with a list of channels covers exactly these names, and so no pattern. When the token expires or
// is revoked nothing is allowed any more, and the session is closed: at once if the authenticator is a chansec.Versioned
// that says so, within a second otherwise.
//
// Attempts are counted by login and, where the transport says it, by address, and so are the logins under way: set
// EnableRequestCapture of nexus' WebsocketServer for that. It has no bound for messages, not even of those who have yet to log in:
// serve it by [LimitMessages].
//
// # What is checked
//
// PUBLISH, SUBSCRIBE, CALL and REGISTER each take the permission of that name on the topic or procedure, or for a pattern on
// the longest part that all its matches share (policy.FixedPart). Whoever lacks it is told wamp.error.not_authorized; where it
// could not be found out the answer is wamp.error.authorization_failed, and says no more. Names are at most [MaxName] bytes long.
//
// Procedures of the router, such as wamp.session.kill, are called by whoever holds call on that name, and so by nobody unless
// it was granted. Beyond any grant are, since nothing could take back or check what follows from them:
//
//   - to publish or register anything that begins with wamp, or to register what could match the administration's names;
//   - to subscribe to what matches wamp.subscription, whose events nexus sends past every filter;
//   - wamp.session.add_testament, which publishes later without a check, wamp.session.modify_details, and
//     wamp.subscription.get_events, which shows anybody what others published, and ends the router when asked the wrong way;
//   - options of a kind that nexus takes for none (a list of eligible sessions that is no list of sessions would be everybody),
//     or ends the router over (payload passthru options that are no text, features that the client did not announce);
//   - a progressive call with a timeout, of which nexus starts another with each part, and ends but the last;
//   - a call with the number of an earlier call, which nexus hands to that one's callee whatever procedure it names;
//   - errors of invocations by sessions that never registered anything, since nexus does not ask whose invocation that was.
//
// # What follows a change
//
// A change of the policy acts on what is open, before any later message:
//
//   - An event is delivered to who may subscribe to its topic, by that very name, at that moment, whatever pattern the
//     subscription has. So a subscriber that lost a topic misses it, and has it again when it is granted again. Where a
//     subscription by a pattern outlives the right to its whole, it brings what is still granted below.
//   - A session that holds a registration and lost the right to it is closed, with wamp.error.not_authorized, since nexus takes no
//     registration away; until that is done calls to that procedure are refused. Calls of local clients are not.
//   - Results of calls that were under way are delivered.
//
// Local clients (client.ConnectLocal) are trusted, and pass all of this: hand none to anybody.
//
// # Log
//
// Everything attempted makes one record for [Config].Activity: the operations call, register, subscribe and publish, allowed,
// denied or undecided, with start and end of each session. The sink must not wait: put an audit.Async before one that writes.
// With RequireActivity nothing is done that could not be recorded. Where the sink says audit.ErrFull, as Async.Offer does instead
// of leaving out a denial, that denial is recorded later, the session that was denied is closed, and nobody else waits but who
// logs in: until the log has room for all that is overdue.
//
// # What nexus does not let a guard close
//
// A session that may register something can answer another callee's invocation with an error, by guessing its number. Calls and
// deliveries of other realms, and of the program's own local clients, are not looked at: guard each realm that clients may join
// by a guard of its own, and use no RealmTemplate, since a guard has one realm.
package wampauth
