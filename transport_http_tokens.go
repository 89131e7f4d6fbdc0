package chansec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/chansec/chansec/internal/strictjson"
)

// Delegator is a TokenIssuer whose principals can hand on a part of what their own credential reaches.
type Delegator interface {
	// Delegate makes a credential that never reaches further than the parent's: in role, channels, audience and time. It
	// ends with the parent, also when the parent or its subject is revoked. Whether the parent may name another subject
	// is for the caller to know. Too much is ErrGrant; a request that makes no sense is an InvalidError.
	Delegate(ctx context.Context, parent Principal, req TokenRequest) (string, error)
}

// Delegation says whether a principal may have a token made for another subject than itself. An error refuses.
type Delegation func(ctx context.Context, parent Principal, req TokenRequest) error

// tokenEndpoint makes tokens for administrators.
type tokenEndpoint struct {
	delegator Delegator
	others    Delegation // nil: for nobody else
	authority *authority
}

// HTTPTokens serves POST /tokens, where administrators of channels have tokens made for these: a JSON object with role,
// channels (a list) or all_channels (true), expires_in (seconds) and system_id (their own, unless others allows another).
// The answer has token, token_type and expires_in. A token never reaches further than that of whoever asks for it, and
// dies with it. The security must be a Delegator, such as JWTSecurity.
func HTTPTokens(security ChannelSecurity, others Delegation) HTTPOption {
	return func(t *HTTPTransport) error {
		d, ok := security.(Delegator)
		if !ok {
			return &InvalidError{What: "security of HTTPTokens", Want: "a Delegator, such as a JWTSecurity"}
		}
		if j, ok := security.(*JWTSecurity); ok && (j.door == nil || j.keys.Load().signer == nil) {
			return &InvalidError{What: "security of HTTPTokens", Value: "a JWTSecurity without a signing key", Want: "one that signs"}
		}
		a := newAuthority(security)
		t.tokens = &tokenEndpoint{d, others, a}
		return nil
	}
}

// resource describes the transport to clients that look for the authorization server (RFC 9728).
type resource struct {
	path     string // of the document
	document []byte
	link     string // for the challenge
}

// HTTPResource serves the protected-resource metadata of RFC 9728 and links it from every challenge. The URL is that under
// which clients know the transport, such as "https://api.example.com"; the servers are the issuers of its tokens.
func HTTPResource(resourceURL string, authorizationServers ...string) HTTPOption {
	return func(t *HTTPTransport) error {
		u, err := url.Parse(resourceURL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(resourceURL, "\"\\ {}") {
			return invalid("resource", resourceURL, "an https URL without query and fragment")
		}
		for _, s := range authorizationServers {
			if a, err := url.Parse(s); err != nil || a.Scheme != "https" || a.Host == "" {
				return invalid("authorization server", s, "an https URL")
			}
		}
		where := "/.well-known/oauth-protected-resource" + strings.TrimSuffix(u.EscapedPath(), "/")
		if path.Clean(where) != where {
			return invalid("resource", resourceURL, "a URL whose path is clean")
		}
		r := &resource{path: where, link: "https://" + u.Host + where}
		r.document, err = json.Marshal(struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers,omitempty"`
			Methods  []string `json:"bearer_methods_supported"`
			Scopes   []Role   `json:"scopes_supported"`
		}{resourceURL, authorizationServers, []string{"header"}, ranks[:]})
		t.resource = r
		return err
	}
}

// param is the part of a challenge that links the document.
func (r *resource) param() string {
	if r == nil {
		return ""
	}
	return `, resource_metadata="` + r.link + `"`
}

func (t *HTTPTransport) serveResource(w http.ResponseWriter, _ *http.Request) {
	x := w.(*exchange)
	x.route = "metadata"
	reply(x, t.resource.document)
}

func (t *HTTPTransport) serveTokens(w http.ResponseWriter, r *http.Request) {
	x := w.(*exchange)
	x.route, x.scope = "tokens", RoleAdmin
	text, lifetime, err := t.token(x)
	if err != nil {
		t.fail(x, err)
		return
	}
	b, _ := json.Marshal(struct {
		Token     string `json:"token"`
		Type      string `json:"token_type"`
		ExpiresIn int64  `json:"expires_in"`
	}{text, "Bearer", int64(lifetime / time.Second)})
	reply(x, b)
}

func (t *HTTPTransport) token(x *exchange) (string, time.Duration, error) {
	ctx := x.r.Context()
	credential, err := bearer(x.r)
	if err != nil {
		return "", 0, err
	}
	p, err := t.phantom("", t.tokens.authority).authenticate(ctx, credential)
	if err == nil {
		err = t.proved(&p)
	}
	if err != nil {
		return "", 0, err
	}
	x.system = p.SystemID
	if x.r.Method != http.MethodPost {
		x.Header().Set("Allow", http.MethodPost)
		return "", 0, refuse(http.StatusMethodNotAllowed, problemMethod, "the method is not one of the header Allow")
	}
	if t.rate != nil {
		if wait := t.rate(ctx, p, ""); wait > 0 {
			return "", 0, &wireError{problem{status: http.StatusTooManyRequests, kind: problemRate, title: "too many requests", retry: wait}}
		}
	}
	q := request{exchange: x, t: t, life: t.life}
	body, err := q.body()
	if err != nil {
		return "", 0, err
	}
	req, err := readTokenRequest(body)
	if err != nil {
		return "", 0, err
	}
	if req.SystemID == "" {
		req.SystemID = p.SystemID
	}
	if err := t.administers(ctx, p, &req); err != nil {
		return "", 0, err
	}
	if req.SystemID != p.SystemID {
		if t.tokens.others == nil {
			return "", 0, &wireError{forbidden}
		}
		if err := t.tokens.others(ctx, p, req); err != nil {
			t.log.Info("chansec: a token for another subject was refused", "request", x.id, "error", err)
			return "", 0, &wireError{forbidden}
		}
	}
	text, err := t.tokens.delegator.Delegate(ctx, p, req)
	if errors.Is(err, ErrGrant) {
		err = &wireError{forbidden}
	}
	if err != nil || req.ExpiresIn > 0 {
		return text, req.ExpiresIn, err
	}
	child, err := t.phantom("", t.tokens.authority).authenticate(ctx, text)
	if err != nil || child.Grant == nil {
		return "", 0, fmt.Errorf("chansec: the delegator made a token that it does not accept: %w", err)
	}
	return text, time.Until(child.Grant.ExpiresAt).Truncate(time.Second), nil
}

// administers checks that a principal is an administrator of every channel of a request, whether it exists or not.
func (t *HTTPTransport) administers(ctx context.Context, p Principal, req *TokenRequest) error {
	who := verified(StaticCaller(p))
	if p.Grant == nil || p.Grant.Role.rank() < RoleAdmin.rank() || req.AllChannels && !p.Grant.AllChannels {
		return &wireError{forbidden}
	}
	mounted := t.mounts.Load().channels
	channels := req.Channels
	if req.AllChannels {
		for id, m := range mounted {
			if m.gate.fixed.Load().same(t.tokens.authority) { // the others have tokens of their own
				channels = append(channels, id)
			}
		}
	}
	for _, id := range channels {
		g := t.phantom(id, t.tokens.authority)
		if m := mounted[id]; m != nil && m.gate.fixed.Load().same(t.tokens.authority) {
			g = m.gate
		}
		if _, err := g.authorize(ctx, who, OpAdmin, nil); err != nil {
			return err
		}
	}
	return nil
}

func readTokenRequest(text string) (req TokenRequest, err error) {
	members, err := strictjson.Object(text, nil, wireLimits)
	if err != nil {
		return req, badRequest("the body must be an object")
	}
	for _, m := range members {
		ok := true
		switch m.Name {
		case "system_id":
			req.SystemID, ok = m.Value.Text()
		case "role":
			var role string
			role, ok = m.Value.Text()
			req.Role = Role(role)
		case "channels":
			req.Channels, ok = m.Value.Strings(maxTokenChannels)
		case "all_channels":
			req.AllChannels, ok = m.Value.Bool()
		case "expires_in":
			var s float64
			s, ok = m.Value.Float64()
			if ok = ok && s >= 1 && s <= math.MaxInt32; ok {
				req.ExpiresIn = time.Duration(s) * time.Second
			}
		default:
			return req, badRequest("unknown member of a token request: the members are system_id, role, channels, all_channels and expires_in")
		}
		if !ok {
			return req, badRequest(m.Name + " makes no sense: want strings, a list of at most " + strconv.Itoa(maxTokenChannels) + " channels, and whole seconds")
		}
	}
	return req, nil
}
