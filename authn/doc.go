// Package authn finds out who somebody is, by asking handlers in an order.
//
//	users, err := authn.OpenFile("users.json", authn.FileConfig{})
//	defer users.Close()
//	chain, err := authn.NewChain(authn.Config{
//		Handlers: []authn.Entry{{Name: "users", Handler: users}},
//		Token:    authn.PasswordToken,
//	})
//	login, err := chain.Login(ctx, &authn.Request{Principal: "alice", Credentials: password})
//	security, err := chansec.Join(chain, store.Authorizer(), tokens) // who, what, and the means to prove it
//
// # The chain
//
// Each handler allows, denies or abstains. The first that does not abstain has decided; where all abstain, it is a denial,
// and so is an error, a panic and an answer that is late (diffusion.md 9). What each said is in Login.Votes or
// RefusedError.Votes, and goes to Config.Observe.
//
// Order matters in two places. A handler that knows a name but not the password denies, and nobody after it is asked. And
// a token of Chain.Authenticate usually names nobody before it is read: handlers of tokens belong before those that have an
// answer for anonymous callers.
//
// # Handlers
//
// File has users with passwords in a file, Passwords has them in a store of yours. SystemStore is Diffusion's system handler:
// principals that are changed by scripts, in transactions, by those who may. NewWebhook asks an HTTP server of yours, in
// deepstream's format. NewIssuers takes tokens of other issuers, with keys from a list, a JWKS URL or OpenID Connect
// Discovery; Tokens takes those of a chansec.JWTSecurity. PeerCertificate and SPIFFE know callers by their TLS
// certificates. None lets everybody in, and says so.
//
// Controls are names under which sessions register handlers at run time, Composite is several handlers as one, and Cache
// remembers what another handler answered. Anything else is a HandlerFunc, which authntest.TestHandler checks.
//
// # What is guaranteed
//
// Nobody is let in because something was missing: every zero value denies. Errors, votes and attempts hold no credentials,
// and a Request writes itself without them: an error or reason of a handler that has them in it is concealed, and a panic is
// reported by the type of what it was with. Unknown users take the time that known ones take. Everything
// that others can fill is bounded, and full is ErrOverloaded.
package authn
