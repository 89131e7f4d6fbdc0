package wampauth_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
	"github.com/chansec/chansec/wampauth"
)

// world is a router with a guard, and all that the guard rests on.
type world struct {
	testing.TB
	store    *policy.Store
	keys     *keys
	tokens   *chansec.JWTSecurity
	sessions *session.MemoryBackend
	trail    *audit.Ring
	guard    *wampauth.Guard
	realm    *router.RealmConfig
	router   router.Router
}

// keys is the users of a test. The secret of each is its name, with "'s secret".
type keys struct {
	mu    sync.Mutex
	known map[string]wampauth.Key
	err   error
	asked func(login string)
}

func (k *keys) Key(_ context.Context, login string) (wampauth.Key, error) {
	k.mu.Lock()
	key, ok := k.known[login]
	err, asked := k.err, k.asked
	k.mu.Unlock()
	if asked != nil {
		asked(login)
	}
	if err != nil {
		return wampauth.Key{}, err
	}
	if ok {
		return key, nil
	}
	return wampauth.Decoy(serverSecret, login, wampauth.MinIterations)
}

var serverSecret = []byte("what only this server knows, and nobody else")

func secretOf(login string) string { return login + "'s secret" }

// deriving a key takes a while: each is derived once in all tests.
var derived sync.Map

func keyOf(t testing.TB, login string) wampauth.Key {
	if k, ok := derived.Load(login); ok {
		return k.(wampauth.Key)
	}
	k, err := wampauth.NewKey(secretOf(login), wampauth.MinIterations)
	require.NoError(t, err)
	derived.Store(login, k)
	return k
}

func newWorld(t testing.TB, change ...func(*wampauth.Config)) *world {
	return newWorldOf(t, policy.WAMPConfig(), change...)
}

func newWorldOf(t testing.TB, kind policy.Config, change ...func(*wampauth.Config)) *world {
	w := &world{TB: t, keys: &keys{known: make(map[string]wampauth.Key)}}
	var err error
	w.store, err = policy.New(kind)
	require.NoError(t, err)
	w.sessions, err = session.NewMemoryBackend(0)
	require.NoError(t, err)
	w.trail, err = audit.NewRing(1 << 14)
	require.NoError(t, err)
	key, err := chansec.HMACKey("k", "HS256", []byte("a key of thirty-two bytes at least"))
	require.NoError(t, err)
	w.tokens, err = chansec.NewJWTSecurity(key)
	require.NoError(t, err)
	c := wampauth.Config{Policy: w.store.Authorizer(), Keys: w.keys, Tickets: w.tokens, Sessions: w.sessions, Activity: w.trail,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, f := range change {
		f(&c)
	}
	w.guard, err = wampauth.New(c)
	require.NoError(t, err)
	w.realm = &router.RealmConfig{URI: "realm1"}
	require.NoError(t, w.guard.Protect(w.realm))
	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{w.realm}}, log.New(io.Discard, "", 0))
	require.NoError(t, err)
	w.router = wampauth.CopyEvents(r)
	require.NoError(t, w.guard.Start(t.Context(), w.router))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, w.guard.Close(ctx))
		w.router.Close()
	})
	return w
}

// grant gives a login a permission on topics, by a role of its own.
func (w *world) grant(login, permission string, topics ...string) {
	w.Helper()
	require.NoError(w, w.store.Update(w.Context(), policy.Root(), func(tx *policy.Tx) error {
		for _, topic := range topics {
			if err := tx.Grant("of_"+login, topic, permission); err != nil {
				return err
			}
		}
		return tx.AssignRoles(login, "of_"+login)
	}))
}

func (w *world) revoke(login, permission string, topics ...string) {
	w.Helper()
	require.NoError(w, w.store.Update(w.Context(), policy.Root(), func(tx *policy.Tx) error {
		for _, topic := range topics {
			if err := tx.Revoke("of_"+login, topic, permission); err != nil {
				return err
			}
		}
		return nil
	}))
}

// remote is one end of a connection in memory, which the router takes for one over a network.
type remote struct {
	in   <-chan wamp.Message
	out  chan<- wamp.Message
	once sync.Once
}

func (*remote) IsLocal() bool               { return false }
func (r *remote) Recv() <-chan wamp.Message { return r.in }
func (r *remote) Send() chan<- wamp.Message { return r.out }
func (r *remote) Close()                    { r.once.Do(func() { close(r.out) }) }

// attach connects a client to the router and returns its end.
func (w *world) attach(details wamp.Dict) wamp.Peer {
	up, down := make(chan wamp.Message, 1024), make(chan wamp.Message, 1024)
	go w.router.AttachClient(&remote{in: up, out: down}, details) // the client is told
	return &remote{in: down, out: up}
}

// connect is a client's login with some methods.
func (w *world) connect(authid string, handlers map[string]client.AuthFunc) (*client.Client, error) {
	return client.NewClient(w.attach(nil), client.Config{Realm: "realm1", HelloDetails: wamp.Dict{"authid": authid}, AuthHandlers: handlers,
		Logger: log.New(io.Discard, "", 0), ResponseTimeout: 5 * time.Second})
}

func bySecret(secret string) map[string]client.AuthFunc {
	return map[string]client.AuthFunc{"wampcra": func(c *wamp.Challenge) (string, wamp.Dict) {
		return crsign.RespondChallenge(secret, c, sha256.New), wamp.Dict{}
	}}
}

// byKey answers with a key that was derived before.
func byKey(k wampauth.Key) map[string]client.AuthFunc {
	return map[string]client.AuthFunc{"wampcra": func(c *wamp.Challenge) (string, wamp.Dict) {
		text, _ := wamp.AsString(c.Extra["challenge"])
		return crsign.SignChallenge(text, k.Key), wamp.Dict{}
	}}
}

func byTicket(token string) map[string]client.AuthFunc {
	return map[string]client.AuthFunc{"ticket": func(*wamp.Challenge) (string, wamp.Dict) { return token, wamp.Dict{} }}
}

// user adds a user.
func (w *world) user(login string) wampauth.Key {
	key := keyOf(w, login)
	w.keys.mu.Lock()
	defer w.keys.mu.Unlock()
	w.keys.known[login] = key
	return key
}

// login logs a user in, who is added if need be.
func (w *world) login(login string) *client.Client {
	w.Helper()
	c, err := w.connect(login, byKey(w.user(login)))
	require.NoError(w, err)
	w.Cleanup(func() { _ = c.Close() })
	return c
}

// raw logs a user in, and returns what the client sends and receives.
func (w *world) raw(login string) wamp.Peer {
	w.Helper()
	key := w.user(login)
	p := w.attach(nil)
	p.Send() <- &wamp.Hello{Realm: "realm1", Details: wamp.Dict{"authid": login, "authmethods": wamp.List{"wampcra"},
		"roles": wamp.Dict{"publisher": wamp.Dict{}, "subscriber": wamp.Dict{}, "caller": wamp.Dict{}, "callee": wamp.Dict{}}}}
	c := receive[*wamp.Challenge](w, p)
	challenge, _ := wamp.AsString(c.Extra["challenge"])
	p.Send() <- &wamp.Authenticate{Signature: crsign.SignChallenge(challenge, key.Key), Extra: wamp.Dict{}}
	receive[*wamp.Welcome](w, p)
	w.Cleanup(p.Close)
	return p
}

// receive requires that the next message is one of a kind.
func receive[M wamp.Message](t testing.TB, p wamp.Peer) (m M) {
	t.Helper()
	select {
	case msg := <-p.Recv():
		require.IsType(t, m, msg)
		return msg.(M)
	case <-time.After(5 * time.Second):
		require.Fail(t, "no message")
	}
	return m
}

// ticket logs in with a token.
func (w *world) ticket(req chansec.TokenRequest) *client.Client {
	w.Helper()
	token, err := w.tokens.GenerateToken(w.Context(), req)
	require.NoError(w, err)
	c, err := w.connect("", byTicket(token))
	require.NoError(w, err)
	w.Cleanup(func() { _ = c.Close() })
	return c
}

// local is a client within the program.
func (w *world) local() *client.Client {
	w.Helper()
	c, err := client.ConnectLocal(w.router, client.Config{Realm: "realm1", Logger: log.New(io.Discard, "", 0), LocalQueueSize: 1024})
	require.NoError(w, err)
	w.Cleanup(func() { _ = c.Close() })
	return c
}

// The four actions, as a client sees them.

func doPublish(c *client.Client, topic string) error {
	return c.Publish(topic, wamp.Dict{wamp.OptAcknowledge: true}, wamp.List{topic}, nil)
}

func doSubscribe(c *client.Client, topic, match string, events chan<- *wamp.Event) error {
	options := wamp.Dict{}
	if match != "" {
		options[wamp.OptMatch] = match
	}
	return c.SubscribeChan(topic, events, options)
}

func doRegister(c *client.Client, procedure, match string) error {
	options := wamp.Dict{}
	if match != "" {
		options[wamp.OptMatch] = match
	}
	return c.Register(procedure, func(context.Context, *wamp.Invocation) client.InvokeResult {
		return client.InvokeResult{Args: wamp.List{"done"}}
	}, options)
}

func doCall(c *client.Client, procedure string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	res, err := c.Call(ctx, procedure, nil, args, nil, nil)
	if err != nil || len(res.Arguments) == 0 {
		return nil, err
	}
	return res.Arguments[0], nil
}

// refused requires the error that a client gets for what it may not do.
func refused(t testing.TB, err error) {
	t.Helper()
	require.ErrorContains(t, err, string(wamp.ErrNotAuthorized))
}

// errorURI returns the name of the error of a call.
func errorURI(err error) string {
	failed, ok := errors.AsType[client.RPCError](err)
	if !ok {
		return ""
	}
	return string(failed.Err.Error)
}

// arrives requires an event about a topic.
func arrives(t testing.TB, events <-chan *wamp.Event, topic string) {
	t.Helper()
	select {
	case e := <-events:
		require.Equal(t, topic, e.Arguments[0])
	case <-time.After(5 * time.Second):
		require.Fail(t, "no event", "about %s", topic)
	}
}

// number is a client's session number.
func number(c *client.Client) int64 { return int64(c.ID()) }

// ends requires that the router closes a client's session, with a reason.
func ends(t testing.TB, c *client.Client, reason string) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		require.Fail(t, "the session goes on")
	}
	require.NotNil(t, c.RouterGoodbye())
	require.Equal(t, wamp.URI(reason), c.RouterGoodbye().Reason)
}

// did returns what the log has of some operations, as "operation target outcome", oldest first.
func (w *world) did(login string, operations ...chansec.Operation) []string {
	var list []string
	for r, err := range w.trail.Records(w.Context(), audit.Filter{}) {
		require.NoError(w, err)
		if r.Principal == login && slices.Contains(operations, r.Operation) {
			list = append(list, string(r.Operation)+" "+r.Target+" "+r.Outcome.String())
		}
	}
	return list
}

// openRecords returns the logins of the sessions that are recorded as open, by their numbers.
func (w *world) openRecords() map[string]string {
	open := make(map[string]string)
	for r, err := range w.sessions.Records(w.Context(), true) {
		require.NoError(w, err)
		open[r.ID] = r.Principal
	}
	return open
}

// eventually waits for something that another goroutine does.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 5*time.Second, time.Millisecond, what)
}

func text(n int64) string { return strconv.FormatInt(n, 10) }
