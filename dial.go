package chansec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RemoteChannel is a channel behind an HTTPTransport, opened for whoever its token proves. Its ports have the same
// interfaces as those of a channel in this process, and their errors are the same to errors.Is; how they came about is in a
// RemoteError. Contents travel as JSON, so that T must survive encoding/json. It may be used from many goroutines at
// once.
//
// Whatever may safely be sent twice is sent again if the connection breaks before there is an answer: writes, which carry a
// key by which the server knows them again (it remembers as many as driver.OnceWindow), descriptions, and subscriptions,
// which resume where they were. Reads, claims and what ends a claim are sent once.
type RemoteChannel[T any] struct{ remote *remote }

// Bounds and defaults of the client's side.
const (
	maxAnswer    = 256 << 20 // bytes of one answer
	maxEvent     = 64 << 20  // bytes of one event
	sendAttempts = 4
	firstPause   = 50 * time.Millisecond // between two attempts; doubled up to longestPause
	longestPause = 5 * time.Second

	// DefaultDialPatience is for how long a subscription tries to resume before it ends.
	DefaultDialPatience = time.Minute
	// DefaultDialSilence is after what time without any sign of life a subscription's connection counts as broken.
	DefaultDialSilence = 3 * DefaultHTTPHeartbeat
)

// DialOption configures a RemoteChannel.
type DialOption func(*remote) error

// DialToken sets the token. It is sent in the header of every request, and appears nowhere else.
func DialToken(token string) DialOption {
	return DialTokenSource(func(context.Context) (string, error) { return token, nil })
}

// DialTokenSource sets who gives the token: it is asked before the first request, and again when a token was refused or has
// expired, one call at a time.
func DialTokenSource(source func(context.Context) (string, error)) DialOption {
	return func(r *remote) error {
		if source == nil {
			return &InvalidError{What: "token source", Value: "nil", Want: "a function"}
		}
		r.source = source
		return nil
	}
}

// DialClient sets the client that sends requests. It must not have a timeout, which would end subscriptions. It is copied;
// the copy follows no redirects, so that no other server gets the token.
func DialClient(c *http.Client) DialOption {
	return func(r *remote) error {
		if c == nil || c.Timeout != 0 {
			return &InvalidError{What: "HTTP client", Want: "one, without a timeout"}
		}
		clone := *c
		r.client = &clone
		return nil
	}
}

// DialInsecure allows http:// to other hosts than this one: everybody on the way may read, and use, the token.
func DialInsecure() DialOption {
	return func(r *remote) error { r.insecure = true; return nil }
}

// DialPatience sets for how long a subscription whose connection broke tries to resume before it ends, and after what time
// without a sign of life a connection counts as broken; DefaultDialPatience and DefaultDialSilence otherwise. The latter
// must be longer than the server's heartbeat.
func DialPatience(resume, silence time.Duration) DialOption {
	return func(r *remote) error {
		r.patience, r.silence = resume, silence
		return errors.Join(atLeast("patience", resume, time.Millisecond), atLeast("silence", silence, time.Millisecond))
	}
}

// ChannelURL returns the URL of a channel behind the transport that is served under base, such as "https://example.com".
func ChannelURL(base, channelID string) string {
	segment := url.PathEscape(channelID)
	if segment == "." || segment == ".." {
		segment = strings.ReplaceAll(segment, ".", "%2E") // or it would mean a directory
	}
	return strings.TrimSuffix(base, "/") + "/channels/" + segment
}

// Dial opens the channel at a URL (see ChannelURL). It does not connect yet. It fails with an InvalidError.
func Dial[T any](channelURL string, opts ...DialOption) (*RemoteChannel[T], error) {
	u, err := url.Parse(channelURL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &InvalidError{What: "channel URL", Want: "https://host/channels/id, without user, query and fragment"}
	}
	r := &remote{base: u.String(), patience: DefaultDialPatience, silence: DefaultDialSilence, asking: make(chan struct{}, 1)}
	for _, opt := range opts {
		if opt == nil {
			return nil, &InvalidError{What: "option", Value: "nil", Want: "a DialOption"}
		}
		if err := opt(r); err != nil {
			return nil, err
		}
	}
	if r.source == nil {
		return nil, &InvalidError{What: "options", Value: "without a token", Want: "DialToken or DialTokenSource"}
	}
	if u.Scheme == "http" && !r.insecure && !loopback(u.Hostname()) {
		return nil, &InvalidError{What: "channel URL", Value: "http://", Want: "https://, or DialInsecure"}
	}
	if r.client == nil {
		dialer := &net.Dialer{Timeout: 10 * time.Second}
		r.transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second}}
		r.client = &http.Client{Transport: r.transport}
	}
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.life, r.end = context.WithCancel(context.Background())
	return &RemoteChannel[T]{r}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Passthrough returns the port of a channel that is a PassthroughChannel there. What the channel's kind cannot do is
// ErrUnsupported.
func (c *RemoteChannel[T]) Passthrough() PassthroughPort[T] {
	p := &remotePort[T]{c.remote}
	return &remotePassthrough[T]{remoteWrite[T]{p}, remoteRead[T]{p}, remoteSubscribe[T]{p}, remoteWork[T]{p}, remoteHost[T]{p}}
}

// Broadcast returns the port of a channel that is a BroadcastChannel there.
func (c *RemoteChannel[T]) Broadcast() BroadcastPort[T] {
	p := &remotePort[T]{c.remote}
	return &remoteBroadcast[T]{remoteWrite[T]{p}, remoteRead[T]{p}, remoteSubscribe[T]{p}, remoteHost[T]{p}}
}

// WorkQueue returns the port of a channel that is a WorkQueueChannel there.
func (c *RemoteChannel[T]) WorkQueue() WorkQueuePort[T] {
	p := &remotePort[T]{c.remote}
	return &remoteWorkQueue[T]{remoteWrite[T]{p}, remoteWork[T]{p}, remoteHost[T]{p}}
}

// Mailbox returns the port of a channel that is a MailboxChannel there.
func (c *RemoteChannel[T]) Mailbox() MailboxPort[T] {
	p := &remotePort[T]{c.remote}
	return &remoteMailbox[T]{remoteWrite[T]{p}, remoteRead[T]{p}, remoteSubscribe[T]{p}, remoteWork[T]{p}, remoteHost[T]{p}}
}

// Close ends the channel's leases with ErrClosed, as every later operation, and waits for their goroutines.
func (c *RemoteChannel[T]) Close() error {
	r := c.remote
	r.mu.Lock()
	r.end()
	r.mu.Unlock()
	r.leases.Wait()
	if r.transport != nil {
		r.transport.CloseIdleConnections()
	}
	return nil
}

// remote is the connection to a channel.
type remote struct {
	base      string
	client    *http.Client
	transport *http.Transport // nil: the client is the user's
	source    func(context.Context) (string, error)
	insecure  bool
	patience  time.Duration
	silence   time.Duration

	life   context.Context
	end    context.CancelFunc
	mu     sync.Mutex // of starting leases
	leases sync.WaitGroup

	asking chan struct{} // holds an element while the source is asked; it guards the token
	token  string
	have   bool
}

// RemoteError is what a remote channel answered instead of doing what it was asked. It is whichever of this package's errors
// the answer stands for: a refusal is ErrPermission, and ErrUnauthenticated as well if the token is the reason.
type RemoteError struct {
	Status     int           // of HTTP
	Kind       string        // of the problem, such as "forbidden"; empty if something else than a channel answered
	Detail     string        // for people
	RequestID  string        // for the server's log
	RetryAfter time.Duration // when to try again; 0 if nobody said
}

func (e *RemoteError) Error() string {
	text := "chansec: the remote channel answered " + strconv.Itoa(e.Status)
	if e.Detail != "" {
		text += ": " + quote(e.Detail)
	}
	return text
}

// sentinels are what the kinds of problem stand for.
var sentinels = map[string][]error{
	problemUnauthenticated: {ErrPermission, ErrUnauthenticated},
	problemForbidden:       {ErrPermission},
	problemUndecided:       {ErrUndecided},
	problemNotFound:        {ErrUnknownChannel},
	problemInvalid:         {ErrInvalid},
	problemTooLarge:        {ErrInvalid},
	problemMediaType:       {ErrInvalid},
	problemUnknownMessage:  {ErrUnknownMessage},
	problemUnsupported:     {ErrUnsupported},
	problemMethod:          {ErrUnsupported},
	problemFull:            {ErrFull},
	problemLimit:           {ErrLimit},
	problemRate:            {ErrLimit},
	problemNotAccepting:    {ErrNotAccepting},
	problemClosed:          {ErrClosed},
}

// Is reports what the answer stands for.
func (e *RemoteError) Is(target error) bool {
	for _, s := range sentinels[e.Kind] {
		if s == target {
			return true
		}
	}
	if e.Kind == "" { // a proxy, perhaps
		return target == ErrPermission && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) ||
			target == ErrUnauthenticated && e.Status == http.StatusUnauthorized
	}
	return false
}

// call is a request that is to be sent.
type call struct {
	method string
	path   string // below the channel's
	query  url.Values
	body   []byte
	header http.Header
	repeat bool // it is safe to send it twice
}

// send sends a request and returns the answer, whose status is 200 or 207, with the token that it was given for.
func (r *remote) send(ctx context.Context, c call) (resp *http.Response, token string, err error) {
	pause := firstPause
	refreshed := false
	for attempt := 1; ; attempt++ {
		if r.life.Err() != nil {
			return nil, "", ErrClosed
		}
		if token, err = r.credential(ctx, ""); err != nil {
			return nil, "", err
		}
		resp, err = r.once(ctx, c, token)
		if err == nil && resp.StatusCode == http.StatusUnauthorized && !refreshed {
			refused := problemFrom(resp)
			refreshed = true
			fresh, err := r.credential(ctx, token)
			if err != nil {
				return nil, "", err
			}
			if fresh == token {
				return nil, "", refused
			}
			continue
		}
		if err == nil {
			if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusMultiStatus {
				return resp, token, nil
			}
			return nil, "", problemFrom(resp)
		}
		if r.life.Err() != nil {
			return nil, "", ErrClosed
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		if !c.repeat && !notSent(err) || attempt == sendAttempts {
			return nil, "", fmt.Errorf("chansec: the remote channel cannot be reached: %w", err)
		}
		if err := pauseFor(ctx, r.life, pause); err != nil {
			return nil, "", err
		}
		pause = min(2*pause, longestPause)
	}
}

// notSent reports whether a request failed before any of it reached the server.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// pauseFor waits for a time, and up to half as long again, unless a context ends.
func pauseFor(ctx, life context.Context, d time.Duration) error {
	t := time.NewTimer(d + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-life.Done():
		return ErrClosed
	}
}

func (r *remote) once(ctx context.Context, c call, token string) (*http.Response, error) {
	target := r.base + c.path
	if len(c.query) > 0 {
		target += "?" + c.query.Encode()
	}
	var body io.Reader
	switch {
	case c.body != nil:
		body = bytes.NewReader(c.body)
	case !c.repeat:
		body = onlyOnce{}
	}
	req, err := http.NewRequestWithContext(ctx, c.method, target, body)
	if err != nil {
		return nil, err
	}
	for name, v := range c.header {
		req.Header[name] = v
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.repeat {
		req.GetBody = nil
	}
	return r.client.Do(req)
}

// onlyOnce is an empty body that keeps net/http from sending a request again by itself, as it does with every GET without a
// body when a kept connection turns out to be broken.
type onlyOnce struct{}

func (onlyOnce) Read([]byte) (int, error) { return 0, io.EOF }

// credential returns the token, after it asked the source if there is none yet or if the one there is was refused.
func (r *remote) credential(ctx context.Context, refused string) (string, error) {
	select {
	case r.asking <- struct{}{}:
		defer func() { <-r.asking }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if r.have && (refused == "" || r.token != refused) {
		return r.token, nil
	}
	token, err := r.source(ctx)
	if err != nil {
		return "", fmt.Errorf("chansec: no token to be had: %w", err)
	}
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return "", &InvalidError{What: "token", Want: "visible ASCII"}
	}
	r.token, r.have = token, true
	return token, nil
}

// problemFrom reads an answer that is an error, and closes it.
func problemFrom(resp *http.Response) *RemoteError {
	defer resp.Body.Close()
	e := &RemoteError{Status: resp.StatusCode, RequestID: shorten(resp.Header.Get("X-Request-Id"))}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 && s < 1<<31 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	if resp.Header.Get("Content-Type") != "application/problem+json" {
		return e
	}
	var p struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p) == nil {
		e.Kind, e.Detail = strings.TrimPrefix(p.Type, problemPrefix), p.Detail
		if e.Kind == p.Type {
			e.Kind = ""
		}
	}
	return e
}

// ask sends a request and decodes the answer.
func (r *remote) ask(ctx context.Context, c call, into any) error {
	resp, _, err := r.send(ctx, c)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && len(text) > maxAnswer {
		err = errors.New("too long")
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("chansec: the remote channel's answer cannot be read: %w", err)
	}
	return nil
}
