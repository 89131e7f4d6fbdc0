package authn_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// webhookSecrets are planted wherever credentials go. They must come out nowhere but at the webhook.
const (
	webhookPassword = "hunter2-planted"
	webhookCookie   = "session=planted-cookie"
)

func webhookConfig(endpoint string) authn.WebhookConfig {
	return authn.WebhookConfig{Endpoint: endpoint, PermittedStatusCodes: []int{200}, RetryStatusCodes: []int{503},
		RequestTimeout: 100 * time.Millisecond, RetryAttempts: new(1), RetryInterval: time.Millisecond}
}

func newWebhook(t testing.TB, config authn.WebhookConfig) *authn.Webhook {
	t.Helper()
	w, err := authn.NewWebhook(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}

func webhookLogin() *authn.Request {
	return &authn.Request{Principal: "chris", Credentials: []byte(webhookPassword),
		Connection: authn.Connection{Header: http.Header{"Cookie": {webhookCookie}}, RemoteAddr: "192.0.2.7:4711"}}
}

// requireSilent checks that nothing that was planted shows, however the things are printed.
func requireSilent(t testing.TB, things ...any) {
	t.Helper()
	for _, thing := range things {
		for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			text := fmt.Sprintf(form, thing)
			for _, secret := range []string{webhookPassword, webhookCookie, "planted"} {
				require.NotContains(t, text, secret)
			}
		}
		if text, err := json.Marshal(thing); err == nil {
			require.NotContains(t, string(text), "planted")
		}
	}
}

// sends is a transport that answers from memory, so that time can be faked.
type sends func(*http.Request) (*http.Response, error)

func (f sends) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func webhookAnswer(status int, contentType, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestAWebhookIsMadeOfWhatIsSafe(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*authn.WebhookConfig)
		field  string // empty: it is fine
	}{
		"https":                             {func(c *authn.WebhookConfig) { c.Endpoint = "https://auth.example/login?tenant=7" }, ""},
		"http on this machine":              {func(c *authn.WebhookConfig) { c.Endpoint = "http://[::1]:8080/" }, ""},
		"http by the name localhost":        {func(c *authn.WebhookConfig) { c.Endpoint = "http://localhost/" }, ""},
		"http elsewhere":                    {func(c *authn.WebhookConfig) { c.Endpoint = "http://auth.example/" }, "Endpoint"},
		"http on what looks like localhost": {func(c *authn.WebhookConfig) { c.Endpoint = "http://localhost.example/" }, "Endpoint"},
		"http elsewhere, as asked for":      {func(c *authn.WebhookConfig) { c.Endpoint = "http://auth.example/"; c.AllowPlaintext = true }, ""},
		"another scheme, even so":           {func(c *authn.WebhookConfig) { c.Endpoint = "ftp://auth.example/"; c.AllowPlaintext = true }, "Endpoint"},
		"no scheme":                         {func(c *authn.WebhookConfig) { c.Endpoint = "auth.example/login" }, "Endpoint"},
		"no host":                           {func(c *authn.WebhookConfig) { c.Endpoint = "https:///login" }, "Endpoint"},
		"a port and no host":                {func(c *authn.WebhookConfig) { c.Endpoint = "https://:443/login" }, "Endpoint"},
		"a port that is none":               {func(c *authn.WebhookConfig) { c.Endpoint = "https://auth.example:65536/" }, "Endpoint"},
		"a user in the URL":                 {func(c *authn.WebhookConfig) { c.Endpoint = "https://me:planted@auth.example/" }, "Endpoint"},
		"a fragment":                        {func(c *authn.WebhookConfig) { c.Endpoint = "https://auth.example/#planted" }, "Endpoint"},
		"a line break":                      {func(c *authn.WebhookConfig) { c.Endpoint = "https://auth.example/\nplanted" }, "Endpoint"},
		"a status below 200":                {func(c *authn.WebhookConfig) { c.PermittedStatusCodes = []int{100} }, "PermittedStatusCodes"},
		"a status that is none":             {func(c *authn.WebhookConfig) { c.RetryStatusCodes = []int{600} }, "RetryStatusCodes"},
		"a negative time-out":               {func(c *authn.WebhookConfig) { c.RequestTimeout = -1 }, "RequestTimeout"},
		"a time-out of an hour":             {func(c *authn.WebhookConfig) { c.RequestTimeout = time.Hour }, "RequestTimeout"},
		"no retries":                        {func(c *authn.WebhookConfig) { c.RetryAttempts = new(0) }, ""},
		"fewer than no retries":             {func(c *authn.WebhookConfig) { c.RetryAttempts = new(-1) }, "RetryAttempts"},
		"too many retries":                  {func(c *authn.WebhookConfig) { c.RetryAttempts = new(11) }, "RetryAttempts"},
		"a negative pause":                  {func(c *authn.WebhookConfig) { c.RetryInterval = -time.Second }, "RetryInterval"},
		"a negative total":                  {func(c *authn.WebhookConfig) { c.TotalTimeout = -time.Second }, "TotalTimeout"},
		"a negative size":                   {func(c *authn.WebhookConfig) { c.MaxBytes = -1 }, "MaxBytes"},
		"no requests":                       {func(c *authn.WebhookConfig) { c.MaxRequests = -1 }, "MaxRequests"},
		"an anonymous ID that is none":      {func(c *authn.WebhookConfig) { c.AnonymousID = "a\nb" }, "AnonymousID"},
		"a header":                          {func(c *authn.WebhookConfig) { c.PromoteToHeader = []string{"token", "X-A"} }, ""},
		"a header that is no name":          {func(c *authn.WebhookConfig) { c.PromoteToHeader = []string{"a b"} }, "PromoteToHeader"},
		"a header without a name":           {func(c *authn.WebhookConfig) { c.PromoteToHeader = []string{""} }, "PromoteToHeader"},
		"a header that frames the request":  {func(c *authn.WebhookConfig) { c.PromoteToHeader = []string{"transfer-encoding"} }, "PromoteToHeader"},
		"the host as a header":              {func(c *authn.WebhookConfig) { c.PromoteToHeader = []string{"HOST"} }, "PromoteToHeader"},
		"a header twice":                    {func(c *authn.WebhookConfig) { c.PromoteToHeader = []string{"x-a", "X-A"} }, "PromoteToHeader"},
		"roles without a path":              {func(c *authn.WebhookConfig) { c.Roles = &authn.RoleMap{Roles: map[string][]string{"a": {"A"}}} }, "Roles.Path"},
		"roles without a table":             {func(c *authn.WebhookConfig) { c.Roles = &authn.RoleMap{Path: []string{"role"}} }, "Roles.Roles"},
		"TLS 1.2":                           {func(c *authn.WebhookConfig) { c.TLS = &tls.Config{MinVersion: tls.VersionTLS12} }, ""},
		"TLS 1.1":                           {func(c *authn.WebhookConfig) { c.TLS = &tls.Config{MinVersion: tls.VersionTLS11} }, "TLS"},
		"TLS 1.1 at most":                   {func(c *authn.WebhookConfig) { c.TLS = &tls.Config{MaxVersion: tls.VersionTLS11} }, "TLS"},
		"no verification":                   {func(c *authn.WebhookConfig) { c.TLS = &tls.Config{InsecureSkipVerify: true} }, "TLS"},
		"another verification": {func(c *authn.WebhookConfig) {
			c.TLS = &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return nil }}
		}, ""},
		"TLS that the transport would not heed": {func(c *authn.WebhookConfig) { c.TLS = &tls.Config{}; c.Transport = http.DefaultTransport }, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			config := webhookConfig("https://auth.example/login")
			c.change(&config)
			w, err := authn.NewWebhook(config)
			if c.field == "" {
				require.NoError(t, err)
				require.NoError(t, w.Close())
				return
			}
			require.Nil(t, w)
			require.ErrorIs(t, err, chansec.ErrInvalid)
			var invalid *chansec.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, "WebhookConfig."+c.field, invalid.What)
			requireSilent(t, err)
		})
	}
}

func TestWhatAWebhookIsSentDependsOnWhatTheCallerLeftEmpty(t *testing.T) {
	for name, c := range map[string]struct {
		principal, credentials string
		want                   string // empty: denied without asking
	}{
		"a name and a password":                    {"chris", "pw", `{"username":"chris","password":"pw"}`},
		"a name and an empty password":             {"chris", "", `{"username":"chris","password":""}`},
		"a password that looks like JSON":          {"chris", `{"username":"root"}`, `{"username":"chris","password":"{\"username\":\"root\"}"}`},
		"a password with quotes and control codes": {"chris", "\"\x00\r\n", "{\"username\":\"chris\",\"password\":\"\\\"\\u0000\\r\\n\"}"},
		"an object":                              {"", ` {"token":"t","n":1.0}`, `{"token":"t","n":1.0}`},
		"a token":                                {"", "a.b.c", `{"token":"a.b.c"}`},
		"an object of two minds is a text":       {"", `{"a":1,"a":2}`, `{"token":"{\"a\":1,\"a\":2}"}`},
		"a list is a text":                       {"", `[1]`, `{"token":"[1]"}`},
		"nothing":                                {"", "", `{}`},
		"a password that is no UTF-8":            {"chris", "\xff", ""},
		"a name that is no UTF-8":                {"\xff", "pw", ""},
		"a token that is no UTF-8":               {"", "\xff", ""},
		"too long a password":                    {"chris", strings.Repeat("x", 65<<10), ""},
		"a password that grows too long in JSON": {"chris", strings.Repeat("\x00", 20<<10), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWebhookServer(t, webhookScript{Status: 200, Body: `{"id":"x"}`})
			w := newWebhook(t, webhookConfig(s.URL))
			got, err := w.Authenticate(t.Context(), &authn.Request{Principal: c.principal, Credentials: []byte(c.credentials)})
			require.NoError(t, err)
			if c.want == "" {
				require.Equal(t, authn.Deny, got.Answer)
				require.Zero(t, s.requests())
				return
			}
			require.Equal(t, authn.Allow, got.Answer)
			var body struct {
				AuthData json.RawMessage `json:"authData"`
			}
			require.NoError(t, json.Unmarshal([]byte(s.bodies[0]), &body))
			require.JSONEq(t, c.want, string(body.AuthData))
		})
	}
}

func TestAWebhookIsSentHowSomebodyCame(t *testing.T) {
	s := newWebhookServer(t, webhookScript{Status: 200, Body: `{"id":"x"}`})
	w := newWebhook(t, webhookConfig(s.URL))
	ask := func(header http.Header) authn.Response {
		got, err := w.Authenticate(t.Context(), &authn.Request{Connection: authn.Connection{Header: header, RemoteAddr: "192.0.2.7:1"}})
		require.NoError(t, err)
		return got
	}
	require.Equal(t, authn.Allow, ask(http.Header{"Cookie": {"a=1", "b=2"}, "X-A": {"1", "2"}, "Referer": {"https://example/"}}).Answer)
	require.JSONEq(t, `{"authData":{},"connectionData":{"remoteAddress":"192.0.2.7:1","referer":"https://example/",
		"headers":{"cookie":"a=1; b=2","x-a":"1, 2","referer":"https://example/"}}}`, s.bodies[0])

	require.Equal(t, authn.Deny, ask(http.Header{"X-A": {"\xff"}}).Answer, "no UTF-8")
	require.Equal(t, authn.Deny, ask(http.Header{"X-A": {strings.Repeat("x", 65<<10)}}).Answer, "too long")
	require.Equal(t, authn.Deny, ask(http.Header{"X-A": {"1"}, "x-a": {"2"}}).Answer, "ambiguous")
	require.Equal(t, 1, s.requests())
}

func TestAMemberBecomesAHeaderOnlyIfItCanBeOne(t *testing.T) {
	for name, c := range map[string]struct {
		data, want string
		denied     bool
	}{
		"a text":                        {data: `{"token":"abc def"}`, want: "abc def"},
		"a number":                      {data: `{"token":7}`, want: "7"},
		"true":                          {data: `{"token":true}`, want: "true"},
		"false is none":                 {data: `{"token":false}`},
		"null is none":                  {data: `{"token":null}`},
		"zero is none":                  {data: `{"token":-0.0}`},
		"the empty text is none":        {data: `{"token":""}`},
		"a missing one is none":         {data: `{"TOKEN":"x"}`},
		"one that starts another":       {data: `{"token":"a\r\nX-Admin: 1"}`, denied: true},
		"one with a line feed only":     {data: `{"token":"a\nX-Admin: 1"}`, denied: true},
		"one that is cut off in C":      {data: `{"token":"a\u0000"}`, denied: true},
		"one beyond ASCII":              {data: `{"token":"é"}`, denied: true},
		"one with a space that is lost": {data: `{"token":" a"}`, denied: true},
		"one that is only white space":  {data: `{"token":" "}`, denied: true},
		"an object":                     {data: `{"token":{}}`, denied: true},
		"a list":                        {data: `{"token":["a"]}`, denied: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWebhookServer(t, webhookScript{Status: 200, Body: `{"id":"x"}`})
			config := webhookConfig(s.URL)
			config.PromoteToHeader = []string{"token"}
			got, err := newWebhook(t, config).Authenticate(t.Context(), &authn.Request{Credentials: []byte(c.data)})
			require.NoError(t, err)
			if c.denied {
				require.Equal(t, authn.Deny, got.Answer)
				require.Zero(t, s.requests())
				return
			}
			require.Equal(t, authn.Allow, got.Answer)
			require.Equal(t, c.want, s.asked[0].Header.Get("Token"))
			require.Empty(t, s.asked[0].Header.Get("X-Admin"))
		})
	}
}

func TestWhatAnAnswerWithAPermittedStatusMeans(t *testing.T) {
	const wrong = "error"
	for name, c := range map[string]struct {
		kind, body string
		want       string // an id, "" for a denial, or wrong
	}{
		"an id":                             {"application/json", `{"id":"chris"}`, "chris"},
		"an id and more":                    {"application/json", `{"id":"chris","isValid":true,"x":{}}`, "chris"},
		"an id in other letters":            {"application/json", `{"ID":"chris"}`, ""},
		"an integer":                        {"application/json", `{"id":9007199254740993}`, "9007199254740993"},
		"a number that is no integer":       {"application/json", `{"id":7.5}`, wrong},
		"an id that is a list":              {"application/json", `{"id":["chris"]}`, wrong},
		"an id that is true":                {"application/json", `{"id":true}`, wrong},
		"an id with a line break":           {"application/json", `{"id":"a\nb"}`, wrong},
		"an id that is too long":            {"application/json", `{"id":"` + strings.Repeat("x", 513) + `"}`, wrong},
		"an id that is null":                {"application/json", `{"id":null}`, ""},
		"an id that is empty":               {"application/json", `{"id":""}`, ""},
		"two ids":                           {"application/json", `{"id":"a","id":"b"}`, wrong},
		"isValid false":                     {"application/json", `{"id":"chris","isValid":false}`, ""},
		"isValid that is a text":            {"application/json", `{"id":"chris","isValid":"false"}`, wrong},
		"isValid that is null":              {"application/json", `{"id":"chris","isValid":null}`, wrong},
		"isValid that is a number":          {"application/json", `{"id":"chris","isValid":1}`, wrong},
		"serverData that is no object":      {"application/json", `{"id":"chris","serverData":"banned"}`, wrong},
		"serverData that is a list":         {"application/json", `{"id":"chris","serverData":["banned"]}`, wrong},
		"serverData that is null":           {"application/json", `{"id":"chris","serverData":null}`, "chris"},
		"a JSON text":                       {"application/json", ` "chris" `, "chris"},
		"a JSON text that is empty":         {"application/json", `""`, ""},
		"a JSON text that is no id":         {"application/json", `"\u0000"`, wrong},
		"a JSON text with half a character": {"application/json", `"\ud800"`, wrong},
		"false":                             {"application/json", `false`, ""},
		"null":                              {"application/json", `null`, ""},
		"a list":                            {"application/json", `["chris"]`, ""},
		"nothing":                           {"application/json", ``, ""},
		"white space":                       {"application/json", ` `, wrong},
		"broken JSON":                       {"application/json", `{"id":"chris"`, wrong},
		"two values":                        {"application/json", `{"id":"chris"} {}`, wrong},
		"JSON that is no UTF-8":             {"application/json", "{\"id\":\"\xff\"}", wrong},
		"JSON in Latin-1":                   {"application/json; charset=iso-8859-1", `{"id":"chris"}`, wrong},
		"JSON in UTF-8":                     {"application/json; charset=UTF-8", `{"id":"chris"}`, "chris"},
		"JSON too deep":                     {"application/json", strings.Repeat("[", 40) + strings.Repeat("]", 40), wrong},
		"JSON of a dialect":                 {"application/problem+json", `{"id":"chris"}`, "chris"},
		"JSON that says it is a script":     {"text/javascript", `{"id":"chris"}`, wrong},
		"plain text":                        {"text/plain", "chris", "chris"},
		"plain text in UTF-8":               {"Text/Plain; Charset=utf-8", "chris", "chris"},
		"plain text with a line end":        {"text/plain", "chris\n", wrong},
		"plain text that is no UTF-8":       {"text/plain", "\xff", wrong},
		"a page":                            {"text/html", "<p>Please log in", wrong},
		"bytes":                             {"application/octet-stream", `{"id":"chris"}`, wrong},
		"a type that cannot be read":        {"application/json; =", `{"id":"chris"}`, wrong},
	} {
		t.Run(name, func(t *testing.T) {
			config := webhookConfig("https://auth.example/")
			config.Transport = sends(func(*http.Request) (*http.Response, error) { return webhookAnswer(200, c.kind, c.body), nil })
			got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
			switch c.want {
			case wrong:
				var failure *authn.WebhookError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, 1, failure.Attempts, "the same would come again")
				require.ErrorIs(t, err, chansec.ErrUndecided)
				require.Equal(t, authn.Response{}, got)
			case "":
				require.NoError(t, err)
				require.Equal(t, authn.Deny, got.Answer)
				require.Empty(t, got.Principal)
			default:
				require.NoError(t, err)
				require.Equal(t, authn.Allow, got.Answer)
				require.Equal(t, c.want, got.Principal)
			}
		})
	}
}

func TestAnAnswerThatNamesNobodyLetsInNobodyUnlessToldWhom(t *testing.T) {
	for _, body := range []string{"", "{}", "null", "1", "true", `[]`, `{"username":"root"}`, `{"isValid":true}`} {
		t.Run(body, func(t *testing.T) {
			config := webhookConfig("https://auth.example/")
			config.Transport = sends(func(*http.Request) (*http.Response, error) { return webhookAnswer(200, "application/json", body), nil })
			got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
			require.NoError(t, err)
			require.Equal(t, authn.Deny, got.Answer)

			config.AnonymousID = "OPEN"
			got, err = newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
			require.NoError(t, err)
			require.Equal(t, authn.Allow, got.Answer)
			require.Equal(t, "OPEN", got.Principal, "and not whom the request names")
		})
	}
}

func TestWhatAWebhookHasTheCallerTold(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		kind, body string
		want       string // JSON; empty is nothing
	}{
		"an object":                  {401, "application/json", `{"why":1,"n":9007199254740993}`, `{"why":1,"n":9007199254740993}`},
		"an object that claims more": {401, "application/json", `{"isValid":true,"id":"root"}`, `{"isValid":true,"id":"root"}`},
		"a text":                     {403, "text/plain", "no", `{"error":"no"}`},
		"a JSON text":                {403, "application/json", `"no"`, `{"error":"no"}`},
		"broken JSON":                {403, "application/json", `no`, `{"error":"no"}`},
		"an object of two minds":     {403, "application/json", `{"a":1,"a":2}`, `{"error":"{\"a\":1,\"a\":2}"}`},
		"an empty object":            {403, "application/json", `{}`, ""},
		"an empty text":              {403, "application/json", `""`, ""},
		"a number":                   {403, "application/json", `1`, ""},
		"nothing":                    {403, "text/plain", "", ""},
		"bytes":                      {403, "application/octet-stream", "no", ""},
		"no UTF-8":                   {403, "text/plain", "\xff", ""},
		"as much as there may be":    {403, "text/plain", strings.Repeat("x", 4096), `{"error":"` + strings.Repeat("x", 4096) + `"}`},
		"more than that":             {403, "text/plain", strings.Repeat("x", 4097), ""},
		"of a denial in so many words": {200, "application/json", `{"isValid":false,"clientData":{"why":"late"},"serverData":{"a":1}}`,
			`{"why":"late"}`},
	} {
		t.Run(name, func(t *testing.T) {
			config := webhookConfig("https://auth.example/")
			config.Transport = sends(func(*http.Request) (*http.Response, error) { return webhookAnswer(c.status, c.kind, c.body), nil })
			got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
			require.NoError(t, err)
			require.Equal(t, authn.Deny, got.Answer)
			require.Empty(t, got.Principal)
			require.Nil(t, got.ServerData)
			requireWebhookJSON(t, json.RawMessage(c.want), got.ClientData)
		})
	}
}

func TestRolesComeFromTheWebhookByATableOnly(t *testing.T) {
	for name, c := range map[string]struct {
		serverData string
		want       []string // nil: denied
	}{
		"a text":                           {`{"groups":{"all":"ops"}}`, []string{"OPERATOR"}},
		"a list":                           {`{"groups":{"all":["ops","dev","ops"]}}`, []string{"AUTHOR", "OPERATOR"}},
		"a name that is not in the table":  {`{"groups":{"all":["ADMINISTRATOR","OPERATOR"]}}`, []string{}},
		"no such member":                   {`{"groups":{}}`, []string{}},
		"nothing on the way":               {`{"groups":null}`, []string{}},
		"no server data":                   {`null`, []string{}},
		"something else at the end":        {`{"groups":{"all":7}}`, nil},
		"something else in the list":       {`{"groups":{"all":["ops",7]}}`, nil},
		"something else on the way":        {`{"groups":["all"]}`, nil},
		"the path at a place of its own":   {`{"groups.all":"ops"}`, []string{}},
		"the path in other letters":        {`{"Groups":{"All":"ops"}}`, []string{}},
		"a role of the same name in roles": {`{"roles":["OPERATOR"]}`, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			config := webhookConfig("https://auth.example/")
			config.Roles = &authn.RoleMap{Path: []string{"groups", "all"}, Roles: map[string][]string{"ops": {"OPERATOR"}, "dev": {"AUTHOR", "OPERATOR"}}}
			config.Transport = sends(func(*http.Request) (*http.Response, error) {
				return webhookAnswer(200, "application/json", `{"id":"chris","serverData":`+c.serverData+`}`), nil
			})
			got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
			if c.want == nil {
				require.Error(t, err)
				require.Equal(t, authn.Deny, got.Answer)
				return
			}
			require.NoError(t, err)
			require.Equal(t, authn.Allow, got.Answer)
			require.Equal(t, c.want, got.Roles)
		})
	}
	t.Run("without a table the roles are those of the request", func(t *testing.T) {
		config := webhookConfig("https://auth.example/")
		config.Transport = sends(func(*http.Request) (*http.Response, error) {
			return webhookAnswer(200, "application/json", `{"id":"chris","roles":["ADMINISTRATOR"],"serverData":{"roles":["ADMINISTRATOR"]}}`), nil
		})
		got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
		require.NoError(t, err)
		require.Nil(t, got.Roles)
	})
}

func TestAWebhookThatRedirectsGetsNoCredentialsTwice(t *testing.T) {
	elsewhere := newWebhookServer(t, webhookScript{Status: 200, Body: `{"id":"root"}`})
	_, port, err := net.SplitHostPort(elsewhere.Listener.Addr().String())
	require.NoError(t, err)
	for name, location := range map[string]string{
		"another port":                 elsewhere.URL + "/auth",
		"another host":                 "http://localhost:" + port + "/auth",
		"without a scheme":             "//" + elsewhere.Listener.Addr().String() + "/auth",
		"a user":                       "http://user@{self}/auth",
		"another scheme":               "https://{self}/auth",
		"a file":                       "file:///etc/passwd",
		"no URL":                       "http://%zz/",
		"the cloud's metadata service": "http://169.254.169.254/latest/",
	} {
		t.Run(name, func(t *testing.T) {
			for _, status := range []int{301, 302, 303, 307, 308} {
				s := newWebhookServer(t)
				s.script = []webhookScript{{Status: status, Headers: map[string]string{"Location": strings.ReplaceAll(location, "{self}", s.Listener.Addr().String())}}}
				got, err := newWebhook(t, webhookConfig(s.URL)).Authenticate(t.Context(), webhookLogin())
				require.ErrorIs(t, err, chansec.ErrUndecided)
				require.Equal(t, authn.Response{}, got)
				require.Equal(t, 1, s.requests())
			}
			require.Zero(t, elsewhere.requests())
		})
	}

	t.Run("to itself, as a GET that carries nothing", func(t *testing.T) {
		for _, status := range []int{301, 302, 303, 307, 308} {
			s := newWebhookServer(t, webhookScript{Status: status, Headers: map[string]string{"Location": "/result?ticket=1#x"}}, webhookScript{Status: 200, Body: `{"id":"chris"}`})
			config := webhookConfig(s.URL)
			config.PromoteToHeader = []string{"password"}
			got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
			require.NoError(t, err)
			require.Equal(t, "chris", got.Principal)
			require.Equal(t, webhookPassword, s.asked[0].Header.Get("Password"))
			require.Equal(t, "GET /result?ticket=1", s.asked[1].Method+" "+s.asked[1].URL.String())
			require.Empty(t, s.bodies[1])
			requireSilent(t, s.asked[1].Header)
			require.Empty(t, s.asked[1].Header.Get("Referer"))
		}
	})

	t.Run("nowhere, though the status is permitted", func(t *testing.T) {
		s := newWebhookServer(t, webhookScript{Status: 302, Body: `{"id":"root"}`})
		config := webhookConfig(s.URL)
		config.PermittedStatusCodes = []int{200, 302}
		got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
		require.NoError(t, err)
		require.Equal(t, authn.Deny, got.Answer)
	})
}

// webhookWire is a server that says what it likes on each connection, once the request is read.
func webhookWire(t *testing.T, say func(net.Conn)) (url string, connections *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	connections = new(atomic.Int32)
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			running.Go(func() {
				defer c.Close()
				buffer := make([]byte, 4096)
				for got := []byte{}; !bytes.Contains(got, []byte("\r\n\r\n{")) && !bytes.HasPrefix(got, []byte("GET ")); {
					n, err := c.Read(buffer)
					if err != nil {
						return
					}
					got = append(got, buffer[:n]...)
				}
				say(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return "http://" + l.Addr().String(), connections
}

// stall waits until the other side gives up.
func stall(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestAWebhookThatMisbehavesLetsInNobody(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	flood := func(c net.Conn, text string) {
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		say      func(net.Conn)
		attempts int
	}{
		"it says nothing":         {stall, 2},
		"it stops in the status":  {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 2"); stall(c) }, 2},
		"it stops in the headers": {func(c net.Conn) { _, _ = io.WriteString(c, head); stall(c) }, 2},
		"it stops in the body": {func(c net.Conn) {
			_, _ = io.WriteString(c, head+"Content-Length: 20\r\n\r\n{\"id\":\"root\"")
			stall(c)
		}, 2},
		"it never ends the body":  {func(c net.Conn) { _, _ = io.WriteString(c, head+"\r\n{\"id\":\"root\"}"); stall(c) }, 2},
		"it hangs up":             {func(net.Conn) {}, 2},
		"it hangs up in the body": {func(c net.Conn) { _, _ = io.WriteString(c, head+"Content-Length: 20\r\n\r\n{\"id\":\"root\"}") }, 2},
		"it hangs up in a chunk": {func(c net.Conn) {
			_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\nd\r\n{\"id\":\"root\"}\r\n")
		}, 2},
		"it speaks no HTTP":                    {func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n"); stall(c) }, 2},
		"it floods the headers":                {func(c net.Conn) { _, _ = io.WriteString(c, head); flood(c, "X: "+strings.Repeat("x", 1000)+"\r\n") }, 2},
		"it floods with informational answers": {func(c net.Conn) { flood(c, "HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n") }, 2},
		"it floods the body":                   {func(c net.Conn) { _, _ = io.WriteString(c, head+"\r\n"); flood(c, strings.Repeat(" ", 1000)) }, 1},
		"it announces a body of a terabyte": {func(c net.Conn) {
			_, _ = io.WriteString(c, head+"Content-Length: 1000000000000\r\n\r\n")
			flood(c, strings.Repeat(" ", 1000))
		}, 1},
		"it floods a refusal": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 401 No\r\n\r\n")
			flood(c, strings.Repeat("x", 1000))
		}, 1},
		"it compresses what nobody asked it to": {func(c net.Conn) {
			_, _ = io.WriteString(c, head+"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")
		}, 1},
		"it gives two lengths": {func(c net.Conn) {
			_, _ = io.WriteString(c, head+"Content-Length: 13\r\nContent-Length: 2\r\n\r\n{\"id\":\"root\"}")
		}, 2},
		"it gives two types": {func(c net.Conn) {
			_, _ = io.WriteString(c, head+"Content-Type: text/html\r\nContent-Length: 13\r\n\r\n{\"id\":\"root\"}")
		}, 1},
		"it fails": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 500 Oh\r\nContent-Length: 13\r\n\r\n{\"id\":\"root\"}")
		}, 1},
		"it asks to be asked again, for ever": {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") }, 2},
		"it switches to another protocol": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			stall(c)
		}, 2},
		"it has a status that there is not": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 999 Yes\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"id\":\"root\"}")
		}, 1},
		"it answers with a page that says login": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\n<html/>")
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, connections := webhookWire(t, c.say)
			config := webhookConfig(url)
			config.MaxBytes = 64 << 10
			w := newWebhook(t, config)
			got, err := w.Authenticate(t.Context(), webhookLogin())
			require.Equal(t, authn.Deny, got.Answer)
			require.Empty(t, got.Principal)
			require.ErrorIs(t, err, chansec.ErrUndecided)
			require.NotErrorIs(t, err, chansec.ErrUnauthenticated)
			var failure *authn.WebhookError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, c.attempts, failure.Attempts)
			require.LessOrEqual(t, int(connections.Load()), c.attempts)
			requireSilent(t, err, failure, got, w)
		})
	}
}

func TestAWebhookIsAskedOverTLSThatIsVerified(t *testing.T) {
	says := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"chris"}`)
	})
	ask := func(t *testing.T, s *httptest.Server, config *tls.Config) (authn.Response, error) {
		c := webhookConfig(s.URL)
		c.RequestTimeout, c.TLS, c.RetryAttempts = 5*time.Second, config, new(0)
		return newWebhook(t, c).Authenticate(t.Context(), webhookLogin())
	}
	s := httptest.NewUnstartedServer(says)
	s.Config.ErrorLog = discardLog
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())

	got, err := ask(t, s, &tls.Config{RootCAs: pool})
	require.NoError(t, err)
	require.Equal(t, "chris", got.Principal)

	got, err = ask(t, s, nil)
	require.ErrorIs(t, err, chansec.ErrUndecided)
	require.ErrorContains(t, err, "not trusted")
	require.Equal(t, authn.Deny, got.Answer)

	_, err = ask(t, s, &tls.Config{RootCAs: pool, ServerName: "other.example"})
	require.ErrorContains(t, err, "not trusted")

	old := httptest.NewUnstartedServer(says)
	old.Config.ErrorLog = discardLog
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	t.Cleanup(old.Close)
	_, err = ask(t, old, &tls.Config{RootCAs: pool})
	require.ErrorIs(t, err, chansec.ErrUndecided)
}

func TestATransportsErrorIsNeverRepeated(t *testing.T) {
	config := webhookConfig("https://auth.example/")
	config.Transport = sends(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		return nil, fmt.Errorf("proxy: cannot send %s with %v", body, r.Header)
	})
	got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
	require.ErrorIs(t, err, chansec.ErrUndecided)
	requireSilent(t, got, err)
	for ; err != nil; err = errors.Unwrap(err) {
		requireSilent(t, err)
	}
}

func TestEachPartOfAnAnswerHasItsTime(t *testing.T) {
	const limit = 100 * time.Millisecond
	for name, c := range map[string]struct {
		connect, answer, read time.Duration
		ok                    bool
	}{
		"each just in time":   {limit - 1, limit - 1, limit - 1, true},
		"connecting too long": {limit + 1, 0, 0, false},
		"answering too late":  {0, limit + 1, 0, false},
		"reading too long":    {0, 0, limit + 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := webhookConfig("https://auth.example/")
				config.RequestTimeout, config.RetryAttempts = limit, new(0)
				config.Transport = sends(func(r *http.Request) (*http.Response, error) {
					if err := pass(r.Context(), c.connect); err != nil {
						return nil, err
					}
					httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
					if err := pass(r.Context(), c.answer); err != nil {
						return nil, err
					}
					answer := webhookAnswer(200, "application/json", "")
					answer.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"id":`), waitsToRead{r.Context(), c.read}, strings.NewReader(`"chris"}`)))
					return answer, nil
				})
				began := time.Now()
				got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
				require.Equal(t, c.ok, err == nil)
				require.Equal(t, c.ok, got.Answer == authn.Allow)
				if !c.ok {
					require.Equal(t, limit, time.Since(began))
					require.ErrorContains(t, err, "in time")
				}
			})
		})
	}
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type waitsToRead struct {
	ctx context.Context
	d   time.Duration
}

func (r waitsToRead) Read([]byte) (int, error) {
	if err := pass(r.ctx, r.d); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

func TestRetriesEnd(t *testing.T) {
	away := func(config *authn.WebhookConfig, asked *[]time.Time) {
		config.Transport = sends(func(r *http.Request) (*http.Response, error) {
			*asked = append(*asked, time.Now())
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
	}
	t.Run("after as many attempts as there may be, with pauses", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var asked []time.Time
			config := webhookConfig("https://auth.example/")
			config.RequestTimeout, config.RetryAttempts, config.RetryInterval = time.Second, new(3), 2*time.Second
			away(&config, &asked)
			got, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
			require.ErrorIs(t, err, chansec.ErrUndecided)
			require.Equal(t, map[string]any{"error": "AUTH_RETRY_ATTEMPTS_EXCEEDED"}, got.ClientData)
			require.Len(t, asked, 4)
			for i := range 3 {
				require.Equal(t, 3*time.Second, asked[i+1].Sub(asked[i]))
			}
		})
	})
	t.Run("when the time for all of them is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var asked []time.Time
			config := webhookConfig("https://auth.example/")
			config.RequestTimeout, config.RetryAttempts, config.RetryInterval, config.TotalTimeout = time.Minute, new(10), time.Second, 70*time.Second
			away(&config, &asked)
			began := time.Now()
			_, err := newWebhook(t, config).Authenticate(t.Context(), webhookLogin())
			require.ErrorIs(t, err, chansec.ErrUndecided)
			require.Equal(t, 70*time.Second, time.Since(began))
			require.Len(t, asked, 2)
		})
	})
	t.Run("when nobody waits any more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var asked []time.Time
			config := webhookConfig("https://auth.example/")
			config.RequestTimeout, config.RetryAttempts, config.RetryInterval = time.Second, new(10), time.Second
			config.AbstainOnRefusal = true
			away(&config, &asked)
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			got, err := newWebhook(t, config).Authenticate(ctx, webhookLogin())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, authn.Deny, got.Answer)
			require.Len(t, asked, 2)
		})
	})
	t.Run("when the handler is closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var asked []time.Time
			config := webhookConfig("https://auth.example/")
			config.RequestTimeout = time.Minute
			away(&config, &asked)
			w := newWebhook(t, config)
			done := make(chan error)
			go func() {
				_, err := w.Authenticate(t.Context(), webhookLogin())
				done <- err
			}()
			synctest.Wait()
			go func() { _ = w.Close() }()
			require.ErrorContains(t, <-done, "closed")
			_, err := w.Authenticate(t.Context(), webhookLogin())
			require.ErrorContains(t, err, "closed")
			require.ErrorIs(t, err, chansec.ErrUndecided)
			require.Len(t, asked, 1)
		})
	})
}

func TestAWebhookIsNotAskedTooMuchAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		config := webhookConfig("https://auth.example/")
		config.MaxRequests, config.RequestTimeout, config.TotalTimeout = 3, time.Second, 10500*time.Millisecond
		config.Transport = sends(func(r *http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if err := pass(r.Context(), time.Second-1); err != nil {
				return nil, err
			}
			return webhookAnswer(200, "text/plain", "chris"), nil
		})
		w := newWebhook(t, config)
		var allowed, failed atomic.Int32
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				got, err := w.Authenticate(t.Context(), webhookLogin())
				switch {
				case err == nil && got.Answer == authn.Allow:
					allowed.Add(1)
				case errors.Is(err, chansec.ErrUndecided):
					failed.Add(1)
				}
			})
		}
		callers.Wait()
		require.EqualValues(t, 3, most.Load())
		require.EqualValues(t, 30, allowed.Load(), "three a second for ten seconds")
		require.EqualValues(t, 20, failed.Load())
	})
}

func TestManyMayAskAWebhookAtOnce(t *testing.T) {
	s := newWebhookServer(t, webhookScript{Status: 200, Body: `{"id":"chris","serverData":{"n":1}}`})
	config := webhookConfig(s.URL)
	config.RequestTimeout = 10 * time.Second
	w := newWebhook(t, config)
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			r := webhookLogin()
			r.Principal += strconv.Itoa(i)
			got, err := w.Authenticate(t.Context(), r)
			if err != nil || got.Principal != "chris" {
				t.Errorf("got %v, %v", got, err)
			}
			got.ServerData["n"] = i // it is the caller's own
		})
	}
	callers.Wait()
	require.Equal(t, 50, s.requests())
}

// discardLog is for servers whose clients hang up as they should.
var discardLog = log.New(io.Discard, "", 0)
