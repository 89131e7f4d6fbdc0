package chansec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec/internal/strictjson"
)

// Defaults of an HTTPTransport, and of the server that its method Server returns.
const (
	DefaultHTTPMaxBody     = 1 << 20 // bytes of a request's body
	DefaultHTTPMaxURL      = 8 << 10 // bytes of a request's path and query
	DefaultHTTPMaxHeaders  = 16 << 10
	DefaultHTTPMaxRequests = 10_000 // at a time, streams included
	DefaultHTTPMaxStreams  = 5_000  // live subscriptions at a time
	DefaultHTTPMaxConns    = 10_000 // connections at a time, of Server

	DefaultHTTPBodyTimeout = 30 * time.Second // for a body to arrive
	DefaultHTTPStall       = 30 * time.Second // for a subscriber to take what was sent
	DefaultHTTPHeartbeat   = 15 * time.Second // between signs of life to an idle subscriber

	MaxHTTPBatch = 1000             // messages of a batch
	MaxHTTPWait  = 30 * time.Second // that a claim may wait for a message
)

// wireLimits bounds the shape of JSON in requests. A longer array or a deeper nesting is refused.
var wireLimits = strictjson.Limits{Depth: 64, Items: 65536}

// HTTPTransport makes channels available over HTTP. It is an http.Handler; TLS, ports and timeouts are those of the server
// that it is put into, except that a body, a claim that waits and a stream have deadlines of their own (HTTPTimeouts). It may
// be used, and channels mounted and unmounted, from many goroutines at once.
//
// Every request needs exactly one credential, in the header "Authorization: Bearer <token>", which the channel's own
// security authenticates before anything else of the request is looked at. What the principal may then do is up to the
// channel's guard, as with any port. Whoever may not know of a channel cannot tell it from one that does not exist.
//
//	GET    /channels/{id}              read; limit, after, exclusive (claim), wait (seconds, for a claim)
//	PUT    /channels/{id}              write a JSON value; with direct=true a message
//	POST   /channels/{id}/batch        write an array of them
//	GET    /channels/{id}/events       subscribe, by server-sent events; after, or the header Last-Event-ID
//	POST   /channels/{id}/acknowledge  {"message_ids": [...]}, of claims: their receipts, or bare message IDs
//	POST   /channels/{id}/nack         the same
//	POST   /channels/{id}/extend       the same
//	GET    /channels/{id}/info         describe
//	GET    /channels/{id}/messages     for administrators: all messages; limit, after
//	DELETE /channels/{id}/messages     for administrators: all=true, before (Unix seconds), keep (a number), or id (many)
//	GET    /channels/{id}/length       for administrators: how many messages are stored
//
// The first three, acknowledge, nack and info are sssn's. In a path, an ID is one segment, percent-encoded.
type HTTPTransport struct {
	mux      *http.ServeMux
	log      *slog.Logger
	insecure bool
	maxBody  int64
	maxURL   int
	body     time.Duration
	stall    time.Duration
	beat     time.Duration
	origins  map[string]bool
	resource *resource
	health   func(context.Context) error
	rate     RateLimit
	tokens   *tokenEndpoint

	requests chan struct{} // one element for each under way
	streams  chan struct{}
	life     context.Context // ends with Close; its streams end without a word, so that clients resume elsewhere
	close    context.CancelFunc
	unproved sync.Once // logged

	mu     sync.Mutex // of changes
	mounts atomic.Pointer[mounts]
}

// mounts is what is mounted.
type mounts struct {
	channels   map[string]*mount
	securities []*authority // each once
}

type mount struct {
	channel Channel
	gate    *guard
	life    context.Context // ends when it is unmounted
	end     context.CancelFunc
	unwatch func() bool
}

// HTTPOption configures an HTTPTransport.
type HTTPOption func(*HTTPTransport) error

// RateLimit is asked about every authenticated request before it is decided. It returns 0, or after what time the principal
// may try again, which answers with 429 and Retry-After. The channel's ID is empty for a token request. It may be called from many goroutines at once.
type RateLimit func(ctx context.Context, p Principal, channelID string) time.Duration

// AllowInsecure lets in principals without proof, whose credential is a mere name that anybody may give (OpenSecurity,
// ACLSecurity). It is for tests, and for networks in which everybody is trusted.
func AllowInsecure() HTTPOption {
	return func(t *HTTPTransport) error { t.insecure = true; return nil }
}

// HTTPLogger sets where the transport logs; slog.Default otherwise.
func HTTPLogger(l *slog.Logger) HTTPOption {
	return func(t *HTTPTransport) error {
		if l == nil {
			return &InvalidError{What: "logger", Value: "nil", Want: "a *slog.Logger"}
		}
		t.log = l
		return nil
	}
}

// HTTPMaxBody sets how long the body of a request may be; DefaultHTTPMaxBody otherwise. More is answered with 413.
func HTTPMaxBody(bytes int) HTTPOption {
	return func(t *HTTPTransport) error {
		t.maxBody = int64(bytes)
		return between("maximum of a body", bytes, 1, 1<<30)
	}
}

// HTTPMaxURL sets how long path and query may be together; DefaultHTTPMaxURL otherwise. More is answered with 414.
func HTTPMaxURL(bytes int) HTTPOption {
	return func(t *HTTPTransport) error {
		t.maxURL = bytes
		return between("maximum of a URL", bytes, 64, 1<<20)
	}
}

// HTTPMaxRequests sets how many requests may be under way, streams included; DefaultHTTPMaxRequests otherwise. More are
// answered with 503 and Retry-After.
func HTTPMaxRequests(n int) HTTPOption {
	return func(t *HTTPTransport) error {
		if err := between("maximum of requests", n, 1, 1<<24); err != nil {
			return err
		}
		t.requests = make(chan struct{}, n)
		return nil
	}
}

// HTTPMaxStreams sets how many live subscriptions there may be; DefaultHTTPMaxStreams otherwise. More are answered with 503
// and Retry-After.
func HTTPMaxStreams(n int) HTTPOption {
	return func(t *HTTPTransport) error {
		if err := between("maximum of streams", n, 1, 1<<24); err != nil {
			return err
		}
		t.streams = make(chan struct{}, n)
		return nil
	}
}

// HTTPTimeouts sets how long a body may take to arrive, and how long a subscriber may take to accept what was sent; the
// defaults are DefaultHTTPBodyTimeout and DefaultHTTPStall.
func HTTPTimeouts(body, stall time.Duration) HTTPOption {
	return func(t *HTTPTransport) error {
		t.body, t.stall = body, stall
		return errors.Join(atLeast("body timeout", body, time.Millisecond), atLeast("stall timeout", stall, time.Millisecond))
	}
}

// HTTPHeartbeat sets how often an idle subscriber gets a sign of life; DefaultHTTPHeartbeat otherwise.
func HTTPHeartbeat(d time.Duration) HTTPOption {
	return func(t *HTTPTransport) error { t.beat = d; return atLeast("heartbeat", d, time.Millisecond) }
}

// HTTPAllowOrigins lets pages of other origins, such as "https://app.example.com", send requests (CORS). Without it only
// pages of the same host may.
func HTTPAllowOrigins(origins ...string) HTTPOption {
	return func(t *HTTPTransport) error {
		for _, o := range origins {
			u, err := url.Parse(o)
			if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.Scheme+"://"+u.Host != o {
				return invalid("origin", o, `scheme, host and port, such as "https://app.example.com"`)
			}
			t.origins[o] = true
		}
		return nil
	}
}

// HTTPHealth serves GET /health, without a credential: 200 while check returns nil, and 503, without saying why, otherwise.
func HTTPHealth(check func(context.Context) error) HTTPOption {
	return func(t *HTTPTransport) error {
		if check == nil {
			return &InvalidError{What: "health check", Value: "nil", Want: "a function"}
		}
		t.health = check
		return nil
	}
}

// HTTPRateLimit sets who is asked before each request of a principal is decided.
func HTTPRateLimit(limit RateLimit) HTTPOption {
	return func(t *HTTPTransport) error {
		if limit == nil {
			return &InvalidError{What: "rate limit", Value: "nil", Want: "a function"}
		}
		t.rate = limit
		return nil
	}
}

// NewHTTPTransport returns a transport without channels. It fails with an InvalidError.
func NewHTTPTransport(opts ...HTTPOption) (*HTTPTransport, error) {
	t := &HTTPTransport{log: slog.Default(), maxBody: DefaultHTTPMaxBody, maxURL: DefaultHTTPMaxURL,
		body: DefaultHTTPBodyTimeout, stall: DefaultHTTPStall, beat: DefaultHTTPHeartbeat, origins: make(map[string]bool),
		requests: make(chan struct{}, DefaultHTTPMaxRequests), streams: make(chan struct{}, DefaultHTTPMaxStreams)}
	for _, opt := range opts {
		if opt == nil {
			return nil, &InvalidError{What: "option", Value: "nil", Want: "an HTTPOption"}
		}
		if err := opt(t); err != nil {
			return nil, err
		}
	}
	if t.beat > t.stall/2 { // HTTP/2 resets a stream whose time for writing is over, also if nothing was written
		return nil, &InvalidError{What: "heartbeat", Value: t.beat.String(), Want: "at most half of the time that a subscriber has to accept what was sent: " + t.stall.String()}
	}
	t.life, t.close = context.WithCancel(context.Background())
	t.mounts.Store(&mounts{})
	t.mux = http.NewServeMux()
	t.mux.HandleFunc("/channels/", t.serveChannel)
	t.mux.HandleFunc("/channels", t.serveNothing) // or the mux would redirect
	t.mux.HandleFunc("/", t.serveNothing)
	if t.health != nil {
		t.mux.HandleFunc("GET /health", t.serveHealth)
	}
	if t.resource != nil {
		t.mux.HandleFunc("GET "+t.resource.path, t.serveResource)
	}
	if t.tokens != nil {
		t.mux.HandleFunc("/tokens", t.serveTokens)
	}
	return t, nil
}

// Mount makes a channel available under its ID, until Unmount, or until the channel is closed. It fixes the channel's
// security. It fails with an InvalidError if a channel of that ID is mounted already, and with ErrSecurityRequired or
// ErrClosed. A credential that the security of its channel does not know is shown to those of the other channels, so that no
// answer tells which channels exist: mount channels together whose securities may see each other's tokens. A security that
// proves nobody is logged, and everybody is refused unless AllowInsecure was set.
func (t *HTTPTransport) Mount(c Channel) error {
	if v := reflect.ValueOf(c); c == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return &InvalidError{What: "channel", Value: "nil", Want: "a channel"}
	}
	g := c.gate()
	a, err := g.authority()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.Err() != nil || g.life.Err() != nil {
		return ErrClosed
	}
	old := t.mounts.Load()
	if old.channels[c.ID()] != nil {
		return invalid("channel id", c.ID(), "one that is not mounted yet")
	}
	switch a.ChannelSecurity.(type) {
	case OpenSecurity, *OpenSecurity, *ACLSecurity:
		t.log.Warn("chansec: a channel is mounted whose security believes mere names", "channel", c.ID(), "let in", t.insecure)
	}
	m := &mount{channel: c, gate: g}
	m.life, m.end = context.WithCancel(t.life)
	m.unwatch = context.AfterFunc(g.life, func() { t.unmount(m) })
	channels := maps.Clone(old.channels)
	if channels == nil {
		channels = make(map[string]*mount)
	}
	channels[c.ID()] = m
	t.mounts.Store(newMounts(channels))
	return nil
}

// Unmount makes a channel unavailable and ends its streams. It reports whether it was mounted.
func (t *HTTPTransport) Unmount(channelID string) bool {
	m := t.mounts.Load().channels[channelID]
	return m != nil && t.unmount(m)
}

func (t *HTTPTransport) unmount(m *mount) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	channels := maps.Clone(t.mounts.Load().channels)
	if channels[m.channel.ID()] != m {
		return false
	}
	delete(channels, m.channel.ID())
	t.mounts.Store(newMounts(channels))
	m.unwatch()
	m.end()
	return true
}

func newMounts(channels map[string]*mount) *mounts {
	list := &mounts{channels: channels}
	for _, id := range slices.Sorted(maps.Keys(channels)) {
		a := channels[id].gate.fixed.Load()
		if !list.knows(a) {
			list.securities = append(list.securities, a)
		}
	}
	return list
}

func (l *mounts) knows(a *authority) bool {
	for _, b := range l.securities {
		if a.same(b) {
			return true
		}
	}
	return false
}

func (a *authority) same(b *authority) bool {
	s, t := a.ChannelSecurity, b.ChannelSecurity
	return a == b || reflect.ValueOf(s).Comparable() && reflect.ValueOf(t).Comparable() && s == t
}

// Close ends all streams and refuses every later request with 503. The channels stay as they are.
func (t *HTTPTransport) Close() error {
	t.close()
	return nil
}

// Server returns a server for the transport with safe limits: 5 s for a request's headers, of at most
// DefaultHTTPMaxHeaders, 30 s for the rest of it, 60 s for an answer (streams have timeouts of their own), 2 min between
// two requests, 100 streams per HTTP/2 connection, and DefaultHTTPMaxConns connections. Its Shutdown ends the streams.
func (t *HTTPTransport) Server(addr string) *http.Server {
	var conns atomic.Int64
	s := &http.Server{Addr: addr, Handler: t, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: DefaultHTTPMaxHeaders,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100}, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(t.log.Handler(), slog.LevelDebug),
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if conns.Add(1) > DefaultHTTPMaxConns {
					_ = c.Close()
				}
			case http.StateClosed, http.StateHijacked:
				conns.Add(-1)
			}
		}}
	s.RegisterOnShutdown(func() { _ = t.Close() })
	return s
}

// exchange is one request and its answer.
type exchange struct {
	http.ResponseWriter
	r       *http.Request
	id      string // of the request
	status  int    // of the answer; 0 while there is none
	read    bool   // the body was read
	route   string
	channel string
	system  string
	scope   Role // that the route takes
	failure error
}

// begin notes the status. Where the body was not read, the connection ends with the answer: the server would wait for the
// body otherwise, at the client's pace.
func (x *exchange) begin(status int) {
	if x.status != 0 {
		return
	}
	x.status = status
	if !x.read && x.r.ContentLength != 0 && x.r.ProtoMajor == 1 {
		x.Header().Set("Connection", "close")
		_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(time.Now().Add(bodyGrace))
	}
}

// bodyGrace is how long a client may go on sending a body that nobody reads. Without it, it might not get the answer.
const bodyGrace = time.Second

func (x *exchange) WriteHeader(status int) {
	x.begin(status)
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	x.begin(http.StatusOK)
	return x.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (t *HTTPTransport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, r: r, id: strconv.FormatUint(rand.Uint64()|1<<63, 16)}
	began := time.Now()
	h := w.Header()
	h["X-Request-Id"] = []string{x.id}
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	defer t.logged(x, began)
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == http.ErrAbortHandler:
			panic(p)
		default:
			t.log.Error("chansec: a request panicked", "request", x.id, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			if x.status != 0 {
				panic(http.ErrAbortHandler) // the client must not take a part for the whole
			}
			t.fail(x, fmt.Errorf("panic of a %T", p))
		}
	}()
	if err := t.admit(x); err != nil {
		t.fail(x, err)
		return
	}
	select {
	case t.requests <- struct{}{}:
		defer func() { <-t.requests }()
	default:
		t.fail(x, busy("too many requests are under way"))
		return
	}
	if p := r.URL.EscapedPath(); path.Clean(p) != p || p[0] != '/' {
		t.serveNothing(x, r) // the mux would redirect
		return
	}
	t.mux.ServeHTTP(x, r)
}

var (
	noStore = []string{"no-store"}
	noSniff = []string{"nosniff"}
)

func busy(detail string) error {
	return &wireError{problem{status: http.StatusServiceUnavailable, kind: problemLimit, title: "busy", detail: detail, retry: retryDefault}}
}

// errAnswered stops a request whose answer is complete.
var errAnswered = errors.New("chansec: answered")

// admit looks at what every request must keep to, whoever sends it.
func (t *HTTPTransport) admit(x *exchange) error {
	r := x.r
	if t.life.Err() != nil {
		return &wireError{problem{status: http.StatusServiceUnavailable, kind: problemClosed, title: "shutting down", retry: retryDefault}}
	}
	if len(r.RequestURI) > t.maxURL || len(r.URL.Path)+len(r.URL.RawQuery) > t.maxURL {
		return refuse(http.StatusRequestURITooLong, problemTooLarge, "path and query may have "+strconv.Itoa(t.maxURL)+" bytes")
	}
	if n := headerBytes(r.Header); n > DefaultHTTPMaxHeaders {
		return refuse(http.StatusRequestHeaderFieldsTooLarge, problemTooLarge, "the headers may have "+strconv.Itoa(DefaultHTTPMaxHeaders)+" bytes")
	}
	if origin := r.Header["Origin"]; len(origin) > 0 {
		return t.cross(x, origin)
	}
	return nil
}

func headerBytes(h http.Header) (n int) {
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

// cross decides whether a page may send the request.
func (t *HTTPTransport) cross(x *exchange, origins []string) error {
	origin := origins[0]
	x.Header().Add("Vary", "Origin")
	u, err := url.Parse(origin)
	same := err == nil && u.Host != "" && u.Host == x.r.Host
	if len(origins) != 1 || !same && !t.origins[origin] {
		return refuse(http.StatusForbidden, problemForbidden, "pages of that origin may not send requests")
	}
	if same {
		return nil
	}
	h := x.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After, X-Request-Id")
	if x.r.Method == http.MethodOptions && x.r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, PUT, POST, DELETE")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "600")
		x.WriteHeader(http.StatusNoContent)
		return errAnswered
	}
	return nil
}

// fail answers with the problem that an error is.
func (t *HTTPTransport) fail(x *exchange, err error) {
	if err == errAnswered {
		return
	}
	x.failure = err
	if x.r.Context().Err() != nil && errors.Is(err, x.r.Context().Err()) {
		panic(http.ErrAbortHandler) // nobody is there any more
	}
	p := problemOf(err)
	h := x.Header()
	switch p.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", t.challenge(err))
	case http.StatusForbidden:
		if p.kind == problemForbidden && x.scope != "" {
			h.Set("WWW-Authenticate", `Bearer realm="chansec", error="insufficient_scope", scope="`+string(x.scope)+`"`+t.resource.param())
		}
	}
	p.write(x, x.id)
}

// logged writes the request's line.
func (t *HTTPTransport) logged(x *exchange, began time.Time) {
	level := slog.LevelDebug
	switch {
	case x.status >= 500 && x.status != http.StatusServiceUnavailable:
		level = slog.LevelError
	case x.status >= 500:
		level = slog.LevelWarn
	case x.status == http.StatusUnauthorized, x.status == http.StatusForbidden:
		level = slog.LevelInfo
	}
	ctx := x.r.Context()
	if !t.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("request", x.id), slog.String("method", shorten(x.r.Method)), slog.String("route", x.route),
		slog.String("channel", shorten(x.channel)), slog.String("system", shorten(x.system)), slog.Int("status", x.status), slog.Duration("took", time.Since(began))}
	if x.failure != nil {
		attrs = append(attrs, slog.String("error", x.failure.Error()))
	}
	t.log.LogAttrs(ctx, level, "chansec request", attrs...)
}

func shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

// credentialProblem is why there is no principal. It is ErrUnauthenticated.
type credentialProblem string

const (
	noCredential        credentialProblem = "no credential"
	malformedCredential credentialProblem = "malformed credential"
)

func (e credentialProblem) Error() string        { return "chansec: " + string(e) }
func (e credentialProblem) Is(target error) bool { return target == ErrUnauthenticated }

// challenge is what a client without a good credential is told (RFC 6750 section 3).
func (t *HTTPTransport) challenge(err error) string {
	const realm = `Bearer realm="chansec"`
	switch err {
	case noCredential:
		return realm + t.resource.param()
	case malformedCredential:
		return realm + `, error="invalid_request", error_description="one header Authorization: Bearer, and no other way"` + t.resource.param()
	}
	return realm + `, error="invalid_token", error_description="the token proves nobody (any more)"` + t.resource.param()
}

// bearer returns the credential of a request: exactly one header, by RFC 9110 section 11.4 and RFC 6750 section 2.1. What is
// allowed in a token is for the authenticator to say; here it is visible ASCII without a comma or quotation mark.
func bearer(r *http.Request) (string, error) {
	query, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil {
		query = r.URL.RawQuery
	}
	if strings.Contains(query, "access_token") {
		return "", malformedCredential // a URL ends up in logs
	}
	values := r.Header["Authorization"]
	switch len(values) {
	case 0:
		return "", noCredential
	case 1:
	default:
		return "", malformedCredential
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || lower(scheme) != "bearer" {
		return "", noCredential
	}
	token = strings.TrimLeft(token, " ")
	if token == "" {
		return "", malformedCredential
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c >= 0x7f || c == ',' || c == '"' {
			return "", malformedCredential
		}
	}
	return token, nil
}

// identity is whom a credential proves, and to which security.
type identity struct {
	Principal
	by *authority
}

// who authenticates the sender of a request to a channel, or to one that does not exist, where m is nil. The result is one
// identity if the channel's own security knows the sender. Otherwise the channel does not exist for them, and the result is
// whom they are to others.
func (t *HTTPTransport) who(x *exchange, m *mount) ([]identity, error) {
	token, err := bearer(x.r)
	if err != nil {
		return nil, err
	}
	failure := error(ErrUnauthenticated)
	var list []identity
	ask := func(g *guard) bool {
		p, err := g.authenticate(x.r.Context(), token)
		if err == nil {
			err = t.proved(&p)
		}
		if err == nil {
			list = append(list, identity{p, g.fixed.Load()})
		} else if errors.Is(err, ErrUndecided) {
			failure = err
		}
		return err == nil
	}
	if m != nil && ask(m.gate) {
		return list, nil
	}
	for _, a := range t.mounts.Load().securities {
		if m == nil || !a.same(m.gate.fixed.Load()) {
			ask(t.phantom("", a))
		}
	}
	if len(list) == 0 || errors.Is(failure, ErrUndecided) {
		return nil, failure
	}
	return list, nil
}

// proved refuses mere names.
func (t *HTTPTransport) proved(p *Principal) error {
	if p.Proof != ProofNone || t.insecure {
		return nil
	}
	t.unproved.Do(func() {
		t.log.Warn("chansec: principals without proof are refused; further ones are not logged", "remedy", "a security that proves callers, or AllowInsecure")
	})
	return ErrUnauthenticated
}

// phantom is the guard of a channel that does not exist.
func (t *HTTPTransport) phantom(channelID string, a *authority) *guard {
	g := &guard{channelID: channelID, log: t.log, life: t.life}
	g.fixed.Store(a)
	return g
}

// serveNothing answers for paths that mean nothing, to nobody but the authenticated.
func (t *HTTPTransport) serveNothing(w http.ResponseWriter, r *http.Request) {
	x := w.(*exchange)
	_, err := t.who(x, nil)
	if err == nil {
		err = &wireError{notFound}
	}
	t.fail(x, err)
}

func (t *HTTPTransport) serveChannel(w http.ResponseWriter, r *http.Request) {
	x := w.(*exchange)
	if err := t.channel(x); err != nil {
		t.fail(x, err)
	}
}

// channel serves a request to a channel, which may exist.
func (t *HTTPTransport) channel(x *exchange) error {
	id, action, ok := channelPath(x.r.URL.EscapedPath())
	x.channel = id
	m := t.mounts.Load().channels[id]
	known, err := t.who(x, m)
	if err != nil {
		return err
	}
	p := known[0].Principal
	x.system = p.SystemID
	methods, exists := routes[action]
	if !ok || !exists {
		return &wireError{notFound}
	}
	route, ok := methods[x.r.Method]
	if !ok {
		x.Header().Set("Allow", allowed(methods))
		return refuse(http.StatusMethodNotAllowed, problemMethod, "the method is not one of the header Allow")
	}
	x.route, x.scope = route.name, route.op.Role()
	if err := CheckChannelID(id); err != nil {
		return err
	}
	if t.rate != nil {
		if wait := t.rate(x.r.Context(), p, id); wait > 0 {
			return &wireError{problem{status: http.StatusTooManyRequests, kind: problemRate, title: "too many requests", retry: wait}}
		}
	}
	q := request{exchange: x, t: t, life: t.life}
	if m != nil && known[0].by == m.gate.fixed.Load() {
		q.wire, q.life = m.channel.wire(StaticCaller(p)), m.life
	} else {
		var a absent
		for _, k := range known {
			a = append(a, stranger{t.phantom(id, k.by), verified(StaticCaller(k.Principal))})
		}
		q.wire = a
	}
	if q.query, err = parseQuery(x.r.URL.RawQuery); err != nil {
		return err
	}
	return route.serve(&q)
}

// channelPath takes /channels/{id} or /channels/{id}/{action} apart. The ID is one segment, unescaped once, so that it may be
// anything; a pattern's wildcard would not match an ID that is a slash.
func channelPath(escaped string) (id, action string, ok bool) {
	segment, action, more := strings.Cut(strings.TrimPrefix(escaped, "/channels/"), "/")
	id, err := url.PathUnescape(segment)
	return id, action, err == nil && more == (action != "") && !strings.Contains(action, "/")
}

func allowed(methods map[string]route) string {
	var list []string
	for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		if _, ok := methods[m]; ok {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}

func (t *HTTPTransport) serveHealth(w http.ResponseWriter, r *http.Request) {
	x := w.(*exchange)
	x.route = "health"
	if err := t.health(r.Context()); err != nil {
		t.fail(x, &wireError{problem{status: http.StatusServiceUnavailable, kind: "unhealthy", title: "unavailable", retry: retryDefault}})
		x.failure = err
		return
	}
	reply(x, `{"status":"ok"}`)
}
