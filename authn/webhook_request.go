package authn

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chansec/chansec/internal/strictjson"
)

// webhookQuestion is what a webhook is sent.
type webhookQuestion struct {
	header http.Header
	body   string
}

// webhookBody is the body, in deepstream's words.
type webhookBody struct {
	ConnectionData webhookConnection `json:"connectionData"`
	AuthData       json.RawMessage   `json:"authData"`
}

type webhookConnection struct {
	Headers       map[string]string `json:"headers,omitempty"`
	Referer       string            `json:"referer,omitempty"`
	RemoteAddress string            `json:"remoteAddress,omitempty"`
}

// webhookShape bounds JSON that comes as credentials or as an answer.
var webhookShape = strictjson.Limits{Depth: 32, Items: 4096}

// question makes a question of a request, or says why it cannot be asked.
func (w *Webhook) question(r *Request) (q *webhookQuestion, refused string) {
	data, ok := webhookAuthData(r)
	if !ok {
		return nil, "the name or the credentials are no UTF-8, or too long"
	}
	connection, ok := webhookConnectionData(r.Connection)
	if !ok {
		return nil, "the headers of the connection are no UTF-8, or too long"
	}
	q = &webhookQuestion{header: http.Header{
		"Content-Type": {"application/json; charset=utf-8"},
		"Accept":       {"application/json"},
	}}
	if !w.promote(q.header, data) {
		return nil, "a member of authData that is to be sent as a header cannot be one"
	}
	body, err := json.Marshal(webhookBody{connection, data})
	if err != nil || len(body) > maxWebhookRequest {
		return nil, "the name, the credentials and the headers are too long together"
	}
	q.body = string(body)
	return q, ""
}

// webhookAuthData is what proves somebody. Which of the forms it has depends on what the caller left empty and not on what
// a password looks like.
func webhookAuthData(r *Request) (json.RawMessage, bool) {
	credentials := string(r.Credentials)
	if len(credentials) > maxWebhookRequest || !utf8.ValidString(credentials) || !utf8.ValidString(r.Principal) {
		return nil, false
	}
	var data any
	switch {
	case r.Principal != "":
		data = struct {
			Username string `json:"username"`
			Password string `json:"password"`
		}{r.Principal, credentials}
	case credentials == "":
		data = struct{}{}
	default:
		if _, err := strictjson.Object(credentials, nil, webhookShape); err == nil {
			return json.RawMessage(credentials), true
		}
		data = struct {
			Token string `json:"token"`
		}{credentials}
	}
	raw, err := json.Marshal(data)
	return raw, err == nil
}

// webhookConnectionData is how somebody came. The values of a header are put together as a browser's would be.
func webhookConnectionData(c Connection) (webhookConnection, bool) {
	d := webhookConnection{RemoteAddress: c.RemoteAddr, Headers: make(map[string]string, len(c.Header))}
	size, ok := len(d.RemoteAddress), utf8.ValidString(d.RemoteAddress)
	for name, values := range c.Header {
		separator := ", "
		if strings.EqualFold(name, "Cookie") {
			separator = "; "
		}
		name, value := strings.ToLower(name), strings.Join(values, separator)
		if _, twice := d.Headers[name]; twice {
			return d, false // of a map that net/http did not make: which of them counts would depend on its order
		}
		size += len(name) + len(value)
		ok = ok && utf8.ValidString(name) && utf8.ValidString(value)
		d.Headers[name] = value
	}
	d.Referer = d.Headers["referer"]
	return d, ok && size <= maxWebhookRequest
}

// webhookPromotion is a member of authData that is sent as a header.
type webhookPromotion struct{ member, header string }

// webhookReserved are the headers that say what a request is and where it ends.
var webhookReserved = []string{"Accept", "Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host",
	"Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func webhookPromotions(names []string) ([]webhookPromotion, error) {
	var promotions []webhookPromotion
	for _, name := range names {
		p := webhookPromotion{name, http.CanonicalHeaderKey(name)}
		switch {
		case !isHeaderName(name):
			return nil, invalidSetting("WebhookConfig.PromoteToHeader", name, "the name of a header")
		case slices.Contains(webhookReserved, p.header):
			return nil, invalidSetting("WebhookConfig.PromoteToHeader", name, "a header that does not say what the request itself is")
		case slices.ContainsFunc(promotions, func(other webhookPromotion) bool { return other.header == p.header }):
			return nil, invalidSetting("WebhookConfig.PromoteToHeader", name, "each header once, in whatever letters")
		}
		promotions = append(promotions, p)
	}
	return promotions, nil
}

// isHeaderName reports whether a name is a token (RFC 9110 section 5.6.2).
func isHeaderName(name string) bool {
	for _, c := range []byte(name) {
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// promote adds the headers that members of authData are to be, unless they are what JavaScript calls falsy. It reports
// whether all of them can be one.
func (w *Webhook) promote(header http.Header, data json.RawMessage) bool {
	if len(w.promoted) == 0 {
		return true
	}
	members, err := strictjson.Object(string(data), nil, webhookShape)
	if err != nil {
		return false
	}
	for _, member := range members {
		at := slices.IndexFunc(w.promoted, func(p webhookPromotion) bool { return p.member == member.Name })
		if at < 0 || isFalsy(member.Value) {
			continue
		}
		value := member.Value.Raw()
		switch member.Value.Kind() {
		case strictjson.KindString:
			value, _ = member.Value.Text()
		case strictjson.KindObject, strictjson.KindArray:
			return false
		}
		if len(value) > maxWebhookRequest || !isHeaderText(value) {
			return false
		}
		header.Set(w.promoted[at].header, value)
	}
	return true
}

// isFalsy reports whether JavaScript takes a value for false (valve.md 13).
func isFalsy(v strictjson.Value) bool {
	switch v.Kind() {
	case strictjson.KindString:
		return v.Raw() == `""`
	case strictjson.KindNumber:
		n, _ := v.Float64()
		return n == 0
	case strictjson.KindBool:
		yes, _ := v.Bool()
		return !yes
	case strictjson.KindArray, strictjson.KindObject:
		return false
	}
	return true
}
