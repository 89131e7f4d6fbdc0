package authn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/chansec/chansec"
)

// ProofWebhook is the proof of whom a [Webhook] let in.
const ProofWebhook chansec.Proof = "webhook"

// Defaults of a [WebhookConfig].
const (
	DefaultWebhookTotal    = 30 * time.Second
	DefaultWebhookBytes    = 1 << 20
	DefaultWebhookRequests = 64
)

// Bounds of what a webhook is sent, and of what it may have the caller told.
const (
	maxWebhookRequest    = 64 << 10 // bytes of a request's body, and of its headers
	maxWebhookClientData = 4 << 10  // bytes beside a refusal
	maxWebhookRedirects  = 2
)

// WebhookConfig is what a [Webhook] is made of. The first six fields are mandatory, as in deepstream (valve.md 15.3).
type WebhookConfig struct {
	// Endpoint is the URL that is asked: https, or http on this machine (localhost, 127.0.0.0/8, ::1).
	Endpoint string
	// PermittedStatusCodes are the statuses that let somebody in, from 200 to 599. A redirect never does.
	PermittedStatusCodes []int
	// RetryStatusCodes are the statuses after which it is asked again, also if they are permitted. Empty, and not nil, is
	// none.
	RetryStatusCodes []int
	// RequestTimeout bounds connecting, the wait for the answer to begin, and the rest of the answer, each; at most a minute.
	RequestTimeout time.Duration
	// RetryAttempts is how often it is asked again, from 0 to 10: new(2).
	RetryAttempts *int
	// RetryInterval is the pause before it is asked again, at most a minute.
	RetryInterval time.Duration

	// PromoteToHeader are the names of members of authData that are sent as headers, too.
	PromoteToHeader []string
	// AnonymousID is whom an answer lets in that permits but names nobody; deepstream's is "OPEN". Where it is empty, such
	// an answer lets nobody in.
	AnonymousID string
	// Roles makes roles of the serverData. Where it is nil, those are the roles of the request.
	Roles *RoleMap
	// AbstainOnRefusal lets the next handler decide where the status is not permitted, or all attempts failed. It is
	// deepstream's reportInvalidParameters: false. A webhook that is away then is no denial any more.
	AbstainOnRefusal bool
	// AllowPlaintext lets an http endpoint be on another machine. Everybody in between can then read the credentials, and
	// let in whom they want.
	AllowPlaintext bool

	// TotalTimeout bounds a login with all attempts and pauses: 30 seconds otherwise.
	TotalTimeout time.Duration
	// MaxBytes bounds the body of an answer: 1 MiB otherwise.
	MaxBytes int
	// MaxRequests is how many logins may be asked about at a time, pauses included; the others wait: 64 otherwise.
	MaxRequests int
	// TLS is the client's side of TLS; at least version 1.2, and never without verifying the server.
	TLS *tls.Config
	// Transport, if there is one, sends the requests, with what it knows about TLS and proxies. It must heed the request's
	// context.
	Transport http.RoundTripper
}

// Webhook asks an HTTP server who somebody is (valve.md 15.3). It may be used from many goroutines at once. Close it when
// it is not needed any more.
//
// # What is sent
//
// POST with the body {"connectionData": {"headers", "referer", "remoteAddress"}, "authData": {…}} in JSON. The headers are
// those of the connection, all of them, by their names in lower case. authData is
//
//	{"username": Principal, "password": Credentials}   if the request has a principal
//	Credentials                                        if it has none and they are a JSON object
//	{"token": Credentials}                             if it has none and they are anything else
//	{}                                                 if it has neither
//
// so that what somebody types as a password is never taken for anything but a password. Credentials that are not UTF-8, that
// together with the headers exceed 64 KiB, or that cannot be a header that they should be, are denied without asking.
//
// # What the answer means
//
// A retry status, no answer, or one that was cut off: it is asked again, [WebhookConfig].RetryAttempts times at most, and
// then fails with a [WebhookError]. Any other status that is not permitted denies; what the body says, an object or a text
// of at most 4 KiB, is the client data. With a permitted status,
//
//   - a JSON object lets in its "id" (a string, or an integer), with its "serverData" (an object or null) and "clientData",
//     unless it has an "isValid" that is not true; other members mean nothing;
//   - a JSON string, or a text/plain, is the id;
//   - no body, null, a number, true, an array or an object without id name nobody: see WebhookConfig.AnonymousID;
//   - false denies;
//   - anything else is a WebhookError: JSON that is broken, of two minds or of another type, HTML, an unknown content type.
//
// A status from 500 on that is not permitted denies and is a WebhookError. A redirect to the same origin is followed as a GET without any
// credentials, twice at most; one to elsewhere is a WebhookError.
type Webhook struct {
	config   WebhookConfig
	endpoint *url.URL
	attempts int
	out      *outbound
	slots    chan struct{}
	promoted []webhookPromotion
	roles    *RoleMap
	refusal  Answer
}

var _ Handler = (*Webhook)(nil)

// NewWebhook returns a handler that asks a webhook. It fails with a chansec.InvalidError that names the field.
func NewWebhook(config WebhookConfig) (*Webhook, error) {
	endpoint, err := config.check()
	if err != nil {
		return nil, err
	}
	w := &Webhook{config: config, endpoint: endpoint, attempts: *config.RetryAttempts, slots: make(chan struct{}, config.MaxRequests)}
	w.config.PermittedStatusCodes, w.config.RetryStatusCodes = slices.Clone(config.PermittedStatusCodes), slices.Clone(config.RetryStatusCodes)
	if w.promoted, err = webhookPromotions(config.PromoteToHeader); err != nil {
		return nil, err
	}
	if w.roles, err = config.Roles.checked("WebhookConfig.Roles"); err != nil {
		return nil, err
	}
	if config.AbstainOnRefusal {
		w.refusal = Abstain
	}
	w.out, err = newOutbound("WebhookConfig", config.Transport, config.TLS, config.RequestTimeout, config.MaxBytes)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// check fills in the defaults and checks everything but the headers, the roles and the transport.
func (c *WebhookConfig) check() (*url.URL, error) {
	if c.Endpoint == "" {
		return nil, invalidSetting("WebhookConfig.Endpoint", "", "the URL of the webhook")
	}
	endpoint, err := checkOutboundURL("WebhookConfig.Endpoint", c.Endpoint, c.AllowPlaintext)
	if err != nil {
		return nil, err
	}
	if len(c.PermittedStatusCodes) == 0 {
		return nil, invalidSetting("WebhookConfig.PermittedStatusCodes", "", "at least one status, such as 200")
	}
	if c.RetryStatusCodes == nil {
		return nil, invalidSetting("WebhookConfig.RetryStatusCodes", "", "statuses, or an empty list for none")
	}
	outside := func(code int) bool { return code < 200 || code > 599 }
	if at := slices.IndexFunc(c.PermittedStatusCodes, outside); at >= 0 {
		return nil, invalidSetting("WebhookConfig.PermittedStatusCodes", strconv.Itoa(c.PermittedStatusCodes[at]), "statuses from 200 to 599")
	}
	if at := slices.IndexFunc(c.RetryStatusCodes, outside); at >= 0 {
		return nil, invalidSetting("WebhookConfig.RetryStatusCodes", strconv.Itoa(c.RetryStatusCodes[at]), "statuses from 200 to 599")
	}
	if c.RequestTimeout == 0 {
		return nil, invalidSetting("WebhookConfig.RequestTimeout", "", "how long to wait")
	}
	if c.RetryAttempts == nil {
		return nil, invalidSetting("WebhookConfig.RetryAttempts", "", "how often to ask again, such as new(2)")
	}
	if *c.RetryAttempts < 0 || *c.RetryAttempts > 10 {
		return nil, invalidSetting("WebhookConfig.RetryAttempts", strconv.Itoa(*c.RetryAttempts), "0 to 10")
	}
	if c.RetryInterval == 0 {
		return nil, invalidSetting("WebhookConfig.RetryInterval", "", "the pause before it is asked again")
	}
	if c.AnonymousID != "" && chansec.CheckSystemID(c.AnonymousID) != nil {
		return nil, invalidSetting("WebhookConfig.AnonymousID", c.AnonymousID, "1 to 512 bytes of UTF-8 without control characters")
	}
	return endpoint, errors.Join(
		within("WebhookConfig.RequestTimeout", &c.RequestTimeout, 0, time.Millisecond, time.Minute, time.Duration.String),
		within("WebhookConfig.RetryInterval", &c.RetryInterval, 0, time.Millisecond, time.Minute, time.Duration.String),
		within("WebhookConfig.TotalTimeout", &c.TotalTimeout, DefaultWebhookTotal, time.Millisecond, 10*time.Minute, time.Duration.String),
		within("WebhookConfig.MaxBytes", &c.MaxBytes, DefaultWebhookBytes, 1, 64<<20, strconv.Itoa),
		within("WebhookConfig.MaxRequests", &c.MaxRequests, DefaultWebhookRequests, 1, 1<<16, strconv.Itoa),
	)
}

// Close ends what is being asked, which fails, and waits for it. The handler fails from then on.
func (w *Webhook) Close() error {
	w.out.close()
	return nil
}

// Format prints the name of the type only.
func (w *Webhook) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authn.Webhook")) }

// WebhookError is why a webhook could not say who somebody is. It is chansec.ErrUndecided, and the error of the context
// where that ended.
type WebhookError struct {
	Problem  string // a constant text
	Status   int    // of the last answer; 0 if there was none
	Attempts int    // how often it was asked

	cause error // of the context
}

func (e *WebhookError) Error() string {
	text := "authn: webhook: " + e.Problem
	if e.Status != 0 {
		text += ": status " + strconv.Itoa(e.Status)
	}
	return text + " (attempts: " + strconv.Itoa(e.Attempts) + ")"
}

// Is makes the error chansec.ErrUndecided.
func (e *WebhookError) Is(target error) bool { return target == chansec.ErrUndecided }

// Unwrap returns the error of the context, if that ended.
func (e *WebhookError) Unwrap() error { return e.cause }

// Authenticate asks the webhook.
func (w *Webhook) Authenticate(ctx context.Context, r *Request) (Response, error) {
	question, refused := w.question(r)
	if refused != "" {
		return Response{Reason: refused}, nil
	}
	ctx, end, err := w.out.begin(ctx, w.config.TotalTimeout)
	if err != nil {
		return Response{}, &WebhookError{Problem: string(outboundClosed)}
	}
	defer end()
	failure := &WebhookError{}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return w.failed(ctx, failure, "too many requests at a time")
	}
	for {
		failure.Attempts++
		answer, err := w.ask(ctx, question)
		switch {
		case err == nil && !slices.Contains(w.config.RetryStatusCodes, answer.status):
			return w.judge(answer, failure)
		case err == nil:
			failure.Status, failure.Problem = answer.status, "it asks to be asked again"
		case errors.Is(err, webhookElsewhere) || errors.Is(err, outboundBig) || errors.Is(err, outboundEncoded):
			failure.Status, failure.Problem = 0, webhookProblem(err)
			return Response{}, failure // the same would come again
		default:
			failure.Status, failure.Problem = 0, webhookProblem(err)
		}
		if ctx.Err() == nil && failure.Attempts > w.attempts {
			return w.exceeded(failure)
		}
		if !sleepUntil(ctx, w.config.RetryInterval) {
			return w.failed(ctx, failure, failure.Problem)
		}
	}
}

// sleepUntil sleeps, and reports whether the context lives on.
func sleepUntil(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// failed is the answer when the time is over. Running out of our own time is what deepstream's attempts are; that the
// caller went away is not.
func (w *Webhook) failed(ctx context.Context, failure *WebhookError, problem string) (Response, error) {
	failure.Problem = problem
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, outboundLate):
		return w.exceeded(failure)
	case errors.Is(cause, outboundClosed):
		failure.Problem = string(outboundClosed)
	default:
		failure.cause = ctx.Err()
	}
	return Response{}, failure
}

// exceeded is the answer when all attempts failed. What the caller is told is deepstream's word for it.
func (w *Webhook) exceeded(failure *WebhookError) (Response, error) {
	if w.refusal == Abstain {
		return Response{Answer: Abstain, Reason: failure.Error()}, nil
	}
	return Response{Reason: failure.Error(), ClientData: map[string]any{"error": "AUTH_RETRY_ATTEMPTS_EXCEEDED"}}, failure
}

const (
	webhookElsewhere outboundProblem = "it redirects to elsewhere"
	webhookLoop      outboundProblem = "it redirects too often"
)

// webhookProblem is the constant text of an error of ask.
func webhookProblem(err error) string {
	if problem, ok := errors.AsType[outboundProblem](err); ok {
		return string(problem)
	}
	return "the time is over"
}

// ask asks once, and follows redirects. They are followed as a GET, as deepstream does, and without credentials: whoever
// answers has seen them already.
func (w *Webhook) ask(ctx context.Context, q *webhookQuestion) (*outboundAnswer, error) {
	answer, err := w.out.do(ctx, http.MethodPost, w.endpoint, q.header.Clone(), q.body)
	at := w.endpoint
	for hops := 0; err == nil && answer.isRedirect() && answer.location != ""; hops++ {
		if hops == maxWebhookRedirects {
			return nil, webhookLoop
		}
		next, parseErr := at.Parse(answer.location)
		if parseErr != nil || next.User != nil || !isSameOrigin(next, w.endpoint) {
			return nil, webhookElsewhere
		}
		next.Fragment, next.RawFragment = "", ""
		at = next
		answer, err = w.out.do(ctx, http.MethodGet, at, http.Header{"Accept": {"application/json"}}, "")
	}
	return answer, err
}

// judge makes a response of an answer that is not to be asked for again.
func (w *Webhook) judge(answer *outboundAnswer, failure *WebhookError) (Response, error) {
	failure.Status = answer.status
	if !slices.Contains(w.config.PermittedStatusCodes, answer.status) || answer.isRedirect() {
		refused := Response{Answer: w.refusal, Reason: "the webhook answered with status " + strconv.Itoa(answer.status)}
		if w.refusal == Abstain {
			return refused, nil
		}
		refused.ClientData = webhookRefusal(answer)
		if answer.status >= 500 {
			failure.Problem = "it failed"
			return refused, failure
		}
		return refused, nil
	}
	says, problem := readWebhookAnswer(answer)
	if problem != "" {
		failure.Problem = problem
		return Response{}, failure
	}
	if !says.valid {
		return Response{Reason: "the webhook says that it is not valid", ClientData: says.clientData}, nil
	}
	if says.id == "" {
		if says.id = w.config.AnonymousID; says.id == "" {
			return Response{Reason: "the webhook names nobody, and AnonymousID is not set"}, nil
		}
	}
	roles, ok := w.roles.of(says.serverMembers)
	if !ok {
		failure.Problem = "the serverData has roles that are no strings"
		return Response{}, failure
	}
	return Response{Answer: Allow, Principal: says.id, Proof: ProofWebhook, Roles: roles, ServerData: says.serverData, ClientData: says.clientData}, nil
}
