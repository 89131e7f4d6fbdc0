package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/chansectest"
)

func TestCustomPrintsWhatItPromises(t *testing.T) {
	want, err := os.ReadFile("testdata/output.txt")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, string(want), out.String(), "if this is right: go run ./examples/custom > examples/custom/testdata/output.txt")
}

// asking returns a security that gets this answer to whatever it asks.
func asking(t *testing.T, status int, body string) *OAuth {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return &OAuth{Endpoint: server.URL, Believe: time.Minute, Client: server.Client()}
}

func TestWhatProvesNobodyIsNotLetIn(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		known  bool // that the token is bad; otherwise nobody could say
	}{
		"an inactive token is refused":              {200, `{"active": false, "sub": "a", "scope": "admin"}`, true},
		"an empty answer is an inactive token":      {200, `{}`, true},
		"null is an inactive token":                 {200, `null`, true},
		"an answer that is no JSON says nothing":    {200, `active`, false},
		"an answer of another shape says nothing":   {200, `{"active": "yes"}`, false},
		"an answer without an end says nothing":     {200, `{"active": true, "sub": "` + strings.Repeat("a", 1<<16), false},
		"an answer with an error says nothing":      {500, `{"active": true, "sub": "a", "scope": "admin"}`, false},
		"a server that does not know us is no help": {401, `{"active": true, "sub": "a", "scope": "admin"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := asking(t, tt.status, tt.body).Authenticate(t.Context(), "secret-token")
			require.Error(t, err)
			require.Zero(t, p)
			require.Equal(t, tt.known, err == chansec.ErrUnauthenticated)
			require.NotErrorIs(t, err, chansec.ErrPermission)
			require.NotContains(t, err.Error(), "secret-token")
		})
	}
}

func TestTheGrantIsWhatTheServerSaid(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		reads  []string // of the channels a, b and c
		writes []string
	}{
		"role and channels are taken over":    {`"scope": "write", "channels": ["a", "b"]`, []string{"a", "b"}, []string{"a", "b"}},
		"a lower role is no more than that":   {`"scope": "read", "channels": ["a"]`, []string{"a"}, nil},
		"without channels it reaches none":    {`"scope": "admin"`, nil, nil},
		"without a scope it may do nothing":   {`"channels": ["a"]`, nil, nil},
		"a scope of several words is no role": {`"scope": "read write", "channels": ["a"]`, nil, nil},
		"what has ended reaches nothing":      {`"scope": "write", "channels": ["a"], "exp": 1`, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := asking(t, 200, `{"active": true, "sub": "sensor", `+tt.answer+`}`).Authenticate(t.Context(), "x")
			require.NoError(t, err)
			require.Equal(t, "sensor", p.SystemID)
			var reads, writes []string
			for _, id := range []string{"a", "b", "c"} {
				if p.Grant.Covers(id, chansec.OpRead, time.Now()) == nil {
					reads = append(reads, id)
				}
				if p.Grant.Covers(id, chansec.OpWrite, time.Now()) == nil {
					writes = append(writes, id)
				}
			}
			require.Equal(t, tt.reads, reads)
			require.Equal(t, tt.writes, writes)
		})
	}
}

func TestAnAnswerIsBelievedUntilTheSoonerOfTwoEnds(t *testing.T) {
	hour := time.Now().Add(time.Hour).Unix()
	long := asking(t, 200, fmt.Sprintf(`{"active": true, "sub": "sensor", "exp": %d}`, hour))

	began := time.Now()
	p, err := long.Authenticate(t.Context(), "x")
	require.NoError(t, err)
	require.WithinRange(t, p.Grant.ExpiresAt, began.Add(long.Believe), time.Now().Add(long.Believe))

	long.Believe = 2 * time.Hour
	p, err = long.Authenticate(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, hour, p.Grant.ExpiresAt.Unix())
}

// TestOAuthKeepsThePromisesOfASecurity is what whoever writes a security runs.
func TestOAuthKeepsThePromisesOfASecurity(t *testing.T) {
	newOAuth := func(t *testing.T) chansec.ChannelSecurity {
		server := httptest.NewServer(&oauthServer{secret: "s", tokens: map[string]answer{
			"token-of-sensor":    {Active: true, Sub: "sensor", Scope: "write", Channels: []string{"readings"}},
			"token-of-dashboard": {Active: true, Sub: "dashboard", Scope: "read", Channels: []string{"readings", "alarms"}},
		}})
		t.Cleanup(server.Close)
		return &OAuth{Endpoint: server.URL, Secret: "s", Believe: time.Minute, Client: server.Client()}
	}
	chansectest.TestSecurity(t, newOAuth, chansectest.Expectations{
		Tokens: []chansectest.Token{
			{Name: "sensor's", Make: chansectest.Text("token-of-sensor"), SystemID: "sensor", Rights: []chansectest.Right{
				{ChannelID: "readings", Read: true, Write: true}, {ChannelID: "alarms"}}},
			{Name: "dashboard's", Make: chansectest.Text("token-of-dashboard"), SystemID: "dashboard", Rights: []chansectest.Right{
				{ChannelID: "readings", Read: true}, {ChannelID: "alarms", Read: true}}},
			{Name: "made up", Make: chansectest.Text("made-up")},
		},
	})
}
