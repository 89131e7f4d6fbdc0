package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/chansec/chansec"
)

// outbound asks servers that the configuration named, and owns what that takes. It follows no redirects, keeps no cookies
// and uses no proxy.
type outbound struct {
	transport http.RoundTripper
	timeout   time.Duration // for connecting, for the answer to begin, and for the rest of it: each
	maxBytes  int           // of an answer's body

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex // of closed
	closed  bool
}

// outboundAnswer is an answer that was read to its end.
type outboundAnswer struct {
	status    int
	location  string
	mediaType string // without parameters, in lower case; empty if there is none that can be read
	body      string
}

// outboundProblem is why there is no answer that could be read. It is a constant text: what went wrong in detail may hold
// what was sent.
type outboundProblem string

func (p outboundProblem) Error() string { return "authn: " + string(p) }

const (
	outboundClosed    outboundProblem = "closed"
	outboundLate      outboundProblem = "no answer in time"
	outboundUntrusted outboundProblem = "the server's certificate is not trusted"
	outboundRefused   outboundProblem = "the server refuses connections"
	outboundUnknown   outboundProblem = "the server's name is unknown"
	outboundLost      outboundProblem = "no connection, or it was lost"
	outboundBig       outboundProblem = "the answer is too long"
	outboundEncoded   outboundProblem = "the answer is compressed, which was not asked for"
)

// newOutbound returns an outbound that uses a transport, or, if that is nil, one of its own with a TLS configuration. What
// is the type that has the two.
func newOutbound(what string, transport http.RoundTripper, config *tls.Config, timeout time.Duration, maxBytes int) (*outbound, error) {
	if transport == nil {
		own, err := newOutboundTransport(what, config)
		if err != nil {
			return nil, err
		}
		transport = own
	} else if config != nil {
		return nil, invalidSetting(what+".TLS", "", "none beside a Transport, which has its own")
	}
	o := &outbound{transport: transport, timeout: timeout, maxBytes: maxBytes}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	return o, nil
}

func newOutboundTransport(what string, config *tls.Config) (*http.Transport, error) {
	if config == nil {
		config = &tls.Config{}
	}
	config = config.Clone()
	switch {
	case config.InsecureSkipVerify && config.VerifyConnection == nil && config.VerifyPeerCertificate == nil:
		return nil, invalidSetting(what+".TLS", "InsecureSkipVerify", "a configuration that verifies the server: set RootCAs for a private authority")
	case config.MinVersion != 0 && config.MinVersion < tls.VersionTLS12, config.MaxVersion != 0 && config.MaxVersion < tls.VersionTLS12:
		return nil, invalidSetting(what+".TLS", "an older version", "TLS 1.2 or later")
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	return &http.Transport{
		TLSClientConfig:        config,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
	}, nil
}

// begin returns a context that ends with a parent, with Close, or after a time. Whoever got one calls end; Close waits for
// it.
func (o *outbound) begin(parent context.Context, limit time.Duration) (ctx context.Context, end func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, nil, outboundClosed
	}
	o.running.Add(1)
	ctx, cancel := context.WithTimeoutCause(parent, limit, outboundLate)
	ctx, abort := context.WithCancelCause(ctx)
	stop := context.AfterFunc(o.ctx, func() { abort(outboundClosed) })
	return ctx, func() {
		stop()
		abort(nil)
		cancel()
		o.running.Done()
	}, nil
}

// close ends what is running, waits for it, and lets idle connections go.
func (o *outbound) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.cancel()
	o.running.Wait()
	if own, ok := o.transport.(*http.Transport); ok {
		own.CloseIdleConnections()
	}
}

// do sends a request and reads the answer. The error is the parent's context error or an outboundProblem.
func (o *outbound) do(parent context.Context, method string, at *url.URL, header http.Header, body string) (*outboundAnswer, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	phase := time.AfterFunc(o.timeout, func() { cancel(outboundLate) })
	defer phase.Stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { phase.Reset(o.timeout) },
	})
	req, err := http.NewRequestWithContext(ctx, method, at.String(), strings.NewReader(body))
	if err != nil {
		return nil, outboundLost
	}
	req.Header = header
	if body == "" {
		req.Body, req.GetBody = http.NoBody, nil
	}
	resp, err := o.transport.RoundTrip(req)
	if err != nil {
		return nil, whyOutbound(ctx, err)
	}
	defer resp.Body.Close()
	phase.Reset(o.timeout)
	if resp.StatusCode < 200 {
		return nil, outboundLost // 101: the body is the connection itself, on which no context ends a read
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, outboundEncoded
	}
	read, err := io.ReadAll(io.LimitReader(resp.Body, int64(o.maxBytes)+1))
	switch {
	case len(read) > o.maxBytes:
		return nil, outboundBig
	case err != nil:
		return nil, whyOutbound(ctx, err)
	}
	return &outboundAnswer{
		status:    resp.StatusCode,
		location:  resp.Header.Get("Location"),
		mediaType: outboundMediaType(resp.Header),
		body:      string(read),
	}, nil
}

// outboundMediaType returns the type of an answer. A character set that is not UTF-8, or a second header, makes it none.
func outboundMediaType(header http.Header) string {
	if len(header.Values("Content-Type")) != 1 {
		return ""
	}
	kind, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	switch strings.ToLower(parameters["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
	default:
		return ""
	}
	if err != nil {
		return ""
	}
	return kind
}

// isJSON reports whether the body says that it is JSON (RFC 6839 section 3.1).
func (a *outboundAnswer) isJSON() bool {
	return a.mediaType == "application/json" || strings.HasPrefix(a.mediaType, "application/") && strings.HasSuffix(a.mediaType, "+json")
}

// isRedirect reports whether the answer sends us elsewhere.
func (a *outboundAnswer) isRedirect() bool { return a.status >= 300 && a.status <= 399 }

// whyOutbound finds out what a transport's error means. Its text is not kept: it is not ours, and may hold the URL, the
// headers or worse.
func whyOutbound(ctx context.Context, err error) error {
	var problem outboundProblem
	var network net.Error
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &problem):
		return problem
	case cause != nil:
		return ctx.Err()
	case errors.As(err, &problem):
		return problem
	case isUntrusted(err):
		return outboundUntrusted
	case errors.Is(err, syscall.ECONNREFUSED):
		return outboundRefused
	case errors.As(err, new(*net.DNSError)):
		return outboundUnknown
	case errors.As(err, &network) && network.Timeout():
		return outboundLate
	}
	return outboundLost
}

func isUntrusted(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError))
}

// checkOutboundURL parses a URL that is to be asked: https, or http where plaintext is allowed or stays on this machine.
// The error shows no more of it than the scheme and the host.
func checkOutboundURL(what, text string, plaintext bool) (*url.URL, error) {
	const want = "an absolute https URL with a host, without user and fragment"
	at, err := url.Parse(text)
	if err != nil || !isHeaderText(text) {
		return nil, invalidSetting(what, "", want)
	}
	shown := (&url.URL{Scheme: at.Scheme, Host: at.Host}).String()
	port, err := strconv.ParseUint(at.Port(), 10, 16)
	switch {
	case at.Hostname() == "", at.User != nil, at.Fragment != "", at.Opaque != "", at.Port() != "" && (err != nil || port == 0):
		return nil, invalidSetting(what, shown, want)
	case at.Scheme == "https", at.Scheme == "http" && (plaintext || isLoopback(at.Hostname())):
		return at, nil
	case at.Scheme == "http":
		return nil, invalidSetting(what, shown, want+"; http only where it stays on this machine")
	}
	return nil, invalidSetting(what, shown, want)
}

// isLoopback reports whether a host is this machine. RFC 6761 section 6.3 reserves localhost for that.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// isSameOrigin compares scheme, host and port (RFC 6454 section 5).
func isSameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && outboundPort(a) == outboundPort(b)
}

func outboundPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// isHeaderText reports whether a text is printable ASCII without white space around it, and so cannot be more than one
// header's value.
func isHeaderText(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return text != "" && strings.TrimSpace(text) == text
}

// invalidSetting says that a part of a configuration is wrong. The value is shortened and quoted.
func invalidSetting(what, value, want string) error {
	if len(value) > 64 {
		value = value[:64]
	}
	if value != "" {
		value = strconv.Quote(value)
	}
	return &chansec.InvalidError{What: what, Value: value, Want: want}
}

// within replaces a zero by the default and checks bounds.
func within[T int | time.Duration](what string, value *T, byDefault, least, most T, unit func(T) string) error {
	if *value == 0 {
		*value = byDefault
	}
	if *value < least || *value > most {
		return invalidSetting(what, unit(*value), unit(least)+" to "+unit(most))
	}
	return nil
}
