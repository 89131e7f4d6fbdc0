package authn_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// webhookVector is a case of auth-http.json (valve.md 16).
type webhookVector struct {
	ID       string `json:"id"`
	Note     string `json:"note"`
	Settings struct {
		PermittedStatusCodes    []int    `json:"permittedStatusCodes"`
		RequestTimeout          int      `json:"requestTimeout"`
		RetryStatusCodes        []int    `json:"retryStatusCodes"`
		RetryAttempts           int      `json:"retryAttempts"`
		RetryInterval           int      `json:"retryInterval"`
		PromoteToHeader         []string `json:"promoteToHeader"`
		ReportInvalidParameters *bool    `json:"reportInvalidParameters"`
	} `json:"settings"`
	AuthData       json.RawMessage `json:"authData"`
	ConnectionData struct {
		Headers       map[string]string `json:"headers"`
		RemoteAddress string            `json:"remoteAddress"`
	} `json:"connectionData"`
	Server []webhookScript `json:"server"`
	Expect struct {
		Result *struct {
			IsValid    bool            `json:"isValid"`
			ID         json.RawMessage `json:"id"`
			ClientData json.RawMessage `json:"clientData"`
			ServerData json.RawMessage `json:"serverData"`
		} `json:"result"`
		Requests int `json:"requests"`
		First    struct {
			Method      string            `json:"method"`
			URL         string            `json:"url"`
			ContentType string            `json:"contentType"`
			Accept      string            `json:"accept"`
			Headers     map[string]string `json:"headers"`
			Body        json.RawMessage   `json:"body"`
		} `json:"first"`
		Methods []string `json:"methods"`
	} `json:"expect"`
}

// webhookScript is one answer of the server.
type webhookScript struct {
	Status      int               `json:"status"`
	Body        string            `json:"body"`
	ContentType *string           `json:"contentType"`
	Headers     map[string]string `json:"headers"`
	Drop        bool              `json:"drop"`
	Delay       int               `json:"delay"` // longer than the time-out: it stalls
}

// webhookServer gives scripted answers, the last one again and again, and remembers what it was asked.
type webhookServer struct {
	*httptest.Server
	mu     sync.Mutex
	script []webhookScript
	asked  []*http.Request
	bodies []string
}

func newWebhookServer(t *testing.T, script ...webhookScript) *webhookServer {
	s := &webhookServer{script: script}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *webhookServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	next := s.script[min(len(s.asked), len(s.script)-1)]
	s.asked = append(s.asked, r)
	s.bodies = append(s.bodies, string(body))
	s.mu.Unlock()
	switch {
	case next.Drop:
		panic(http.ErrAbortHandler)
	case next.Delay > 0:
		<-r.Context().Done()
		return
	}
	w.Header()["Content-Type"] = []string{"application/json"}
	if next.ContentType != nil {
		w.Header()["Content-Type"] = []string{*next.ContentType}
		if *next.ContentType == "" {
			w.Header()["Content-Type"] = nil
		}
	}
	for name, value := range next.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(next.Status)
	_, _ = io.WriteString(w, next.Body)
}

func (s *webhookServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// stricterThanDeepstream are the cases where an answer that lets somebody in with deepstream lets nobody in here.
var stricterThanDeepstream = map[string]string{
	"auth-http/009": "a JSON false is a no",
	"auth-http/011": "broken JSON is never an id (valve.md 15.3, 4)",
	"auth-http/012": "a body without a content type is of no type that can be read; deepstream made it an object of bytes",
	"auth-http/013": "HTML is the page of somebody who was not asked, and no id",
}

func TestTheWebhookAgreesWithDeepstream(t *testing.T) {
	var file struct {
		Cases []webhookVector `json:"cases"`
	}
	readWebhookVectors(t, "testdata/valve/auth-http.json", &file)
	require.NotEmpty(t, file.Cases)
	for _, v := range file.Cases {
		t.Run(v.ID+" "+v.Note, func(t *testing.T) {
			t.Parallel()
			v.run(t)
		})
	}
}

func (v *webhookVector) run(t *testing.T) {
	s := newWebhookServer(t, v.Server...)
	w, err := authn.NewWebhook(authn.WebhookConfig{
		Endpoint:             s.URL + "/auth",
		PermittedStatusCodes: v.Settings.PermittedStatusCodes,
		RetryStatusCodes:     v.Settings.RetryStatusCodes,
		RequestTimeout:       time.Duration(v.Settings.RequestTimeout) * time.Millisecond,
		RetryAttempts:        &v.Settings.RetryAttempts,
		RetryInterval:        time.Duration(v.Settings.RetryInterval) * time.Millisecond,
		PromoteToHeader:      v.Settings.PromoteToHeader,
		AbstainOnRefusal:     v.Settings.ReportInvalidParameters != nil && !*v.Settings.ReportInvalidParameters,
		AnonymousID:          "OPEN",
	})
	require.NoError(t, err)
	defer w.Close()
	header := http.Header{}
	for name, value := range v.ConnectionData.Headers {
		header.Set(name, value)
	}
	got, err := w.Authenticate(t.Context(), &authn.Request{
		Credentials: v.AuthData,
		Connection:  authn.Connection{Header: header, RemoteAddr: v.ConnectionData.RemoteAddress},
	})

	want := v.Expect.Result
	switch reason, isStricter := stricterThanDeepstream[v.ID]; {
	case isStricter:
		require.True(t, want.IsValid, "no deviation")
		require.Equal(t, authn.Deny, got.Answer, reason)
	case want == nil:
		require.NoError(t, err)
		require.Equal(t, authn.Abstain, got.Answer)
		require.Nil(t, got.ClientData)
	case want.IsValid:
		require.NoError(t, err)
		require.Equal(t, authn.Allow, got.Answer)
		require.Equal(t, authn.ProofWebhook, got.Proof)
		id := strings.Trim(string(want.ID), `"`)
		if id == "" {
			id = "OPEN"
		}
		require.Equal(t, id, got.Principal)
		requireWebhookJSON(t, want.ClientData, got.ClientData)
		if got.ServerData == nil {
			require.Empty(t, want.ServerData)
		} else {
			requireWebhookJSON(t, want.ServerData, got.ServerData)
		}
	default:
		require.Equal(t, authn.Deny, got.Answer)
		requireWebhookJSON(t, want.ClientData, got.ClientData)
		require.Empty(t, got.Principal)
		require.Empty(t, got.ServerData)
	}

	require.Equal(t, v.Expect.Requests, s.requests())
	var methods []string
	for _, r := range s.asked {
		methods = append(methods, r.Method+" "+r.URL.String())
	}
	require.Equal(t, v.Expect.Methods, methods)
	first := s.asked[0]
	require.Equal(t, v.Expect.First.ContentType, first.Header.Get("Content-Type"))
	require.Equal(t, v.Expect.First.Accept, first.Header.Get("Accept"))
	require.JSONEq(t, string(v.Expect.First.Body), s.bodies[0])
	for _, name := range v.Settings.PromoteToHeader {
		require.Equal(t, v.Expect.First.Headers[name], first.Header.Get(name))
	}
}

func requireWebhookJSON(t *testing.T, want json.RawMessage, got any) {
	t.Helper()
	if len(want) == 0 || string(want) == "null" {
		require.Nil(t, got)
		return
	}
	text, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(text))
}

func readWebhookVectors(t testing.TB, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}

func TestTheWebhookNamesTheSettingThatIsMissing(t *testing.T) {
	complete := func() authn.WebhookConfig {
		return authn.WebhookConfig{Endpoint: "https://auth.example/login", PermittedStatusCodes: []int{200}, RetryStatusCodes: []int{404, 504},
			RequestTimeout: time.Second, RetryAttempts: new(2), RetryInterval: time.Second}
	}
	missing := map[string]func(*authn.WebhookConfig){
		"complete":                func(*authn.WebhookConfig) {},
		"no endpointUrl":          func(c *authn.WebhookConfig) { c.Endpoint = "" },
		"no permittedStatusCodes": func(c *authn.WebhookConfig) { c.PermittedStatusCodes = nil },
		"no requestTimeout":       func(c *authn.WebhookConfig) { c.RequestTimeout = 0 },
		"no retryStatusCodes":     func(c *authn.WebhookConfig) { c.RetryStatusCodes = nil },
		"no retryAttempts":        func(c *authn.WebhookConfig) { c.RetryAttempts = nil },
		"no retryInterval":        func(c *authn.WebhookConfig) { c.RetryInterval = 0 },
	}
	var file struct {
		Cases []struct {
			Note   string  `json:"note"`
			Thrown *string `json:"thrown"`
		} `json:"cases"`
	}
	readWebhookVectors(t, "testdata/valve/auth-http-config.json", &file)
	require.NotEmpty(t, file.Cases)
	tried := map[string]bool{}
	for _, v := range file.Cases {
		require.Contains(t, missing, v.Note)
		require.Equal(t, v.Thrown == nil, v.Note == "complete")
		tried[v.Note] = true
	}
	require.True(t, tried["complete"])
	for note, change := range missing {
		t.Run(note, func(t *testing.T) {
			config := complete()
			change(&config)
			w, err := authn.NewWebhook(config)
			if note == "complete" {
				require.NoError(t, err)
				require.NoError(t, w.Close())
				return
			}
			require.Nil(t, w)
			var invalid *chansec.InvalidError
			require.ErrorAs(t, err, &invalid)
			field := strings.NewReplacer("no endpointUrl", "Endpoint", "no p", "P", "no r", "R").Replace(note)
			require.Equal(t, "WebhookConfig."+field, invalid.What)
		})
	}
}
