package rbac_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/rbac"
)

// vectorFile is the schema chansec.rbac/1 (appkernel.md 9).
type vectorFile struct {
	PublicKey string
	Services  []struct {
		Name     string
		Audience *string
		Service  struct {
			Actions []struct {
				Name    string
				Methods []string
				Require []vectorPermission
			}
			Steps []struct {
				Call        string
				Permissions []vectorPermission
				Methods     oneOrMany
				Endpoint    *string
			}
		}
		Cases []vectorCase
	}
}

type vectorPermission struct {
	Role, CurrentSubject *string
	Anonymous, Denied    bool
}

type vectorCase struct {
	ID, Method    string
	Endpoint      *string
	Params        map[string]string
	Authorization *string
	Allowed       bool
	Reason        rbac.Reason
	Status        int
	StatusRFC6750 int
}

type oneOrMany []string

func (m *oneOrMany) UnmarshalJSON(text []byte) error {
	if text[0] != '"' {
		return json.Unmarshal(text, (*[]string)(m))
	}
	*m = make(oneOrMany, 1)
	return json.Unmarshal(text, &(*m)[0])
}

func permissions(t *testing.T, list []vectorPermission) (any rbac.AnyOf) {
	for _, p := range list {
		switch {
		case p.Role != nil:
			any = append(any, rbac.Role(*p.Role))
		case p.CurrentSubject != nil:
			any = append(any, rbac.CurrentSubject(*p.CurrentSubject))
		case p.Anonymous:
			any = append(any, rbac.Anonymous)
		case p.Denied:
			any = append(any, rbac.Denied)
		default:
			require.Fail(t, "unknown permission")
		}
	}
	return any
}

// TestVectors decides every request of the vectors three times: alone, and through a server with either column of statuses.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var vectors vectorFile
		require.NoError(t, json.Unmarshal(text, &vectors))
		keys, err := rbac.KeyFiles{PublicKeyPath: filepath.Join("testdata", vectors.PublicKey)}.Verifying()
		require.NoError(t, err)
		for _, v := range vectors.Services {
			var opts []rbac.TokenOption
			if v.Audience != nil {
				opts = append(opts, rbac.Application(*v.Audience))
			}
			tokens, err := rbac.NewTokens(keys, opts...)
			require.NoError(t, err)

			rules := new(rbac.Rules)
			known := make(map[string]bool)
			for _, a := range v.Service.Actions {
				known[a.Name] = true
				var p rbac.Permission
				if a.Require != nil {
					p = permissions(t, a.Require)
				}
				rules.Action(rbac.Action{Name: a.Name, Methods: a.Methods, Require: p})
			}
			for _, s := range v.Service.Steps {
				if s.Endpoint != nil {
					known[*s.Endpoint] = true
				}
				switch p := permissions(t, s.Permissions); {
				case s.Call == "deny_all":
					rules.DenyAll()
				case s.Call == "allow_all":
					rules.AllowAll()
				case s.Call == "require" && s.Endpoint == nil:
					rules.Require(p, s.Methods...)
				case s.Call == "require":
					rules.RequireAction(*s.Endpoint, p, s.Methods...)
				case s.Call == "deny" && s.Endpoint == nil:
					rules.Deny(s.Methods...)
				case s.Call == "deny":
					rules.DenyAction(*s.Endpoint, s.Methods...)
				case s.Call == "exempt" && s.Endpoint == nil:
					rules.Exempt(s.Methods...)
				case s.Call == "exempt":
					rules.ExemptAction(*s.Endpoint, s.Methods...)
				default:
					require.Fail(t, "unknown call", s.Call)
				}
			}
			rfc, err := rbac.NewService(tokens, rules)
			require.NoError(t, err)
			original, err := rbac.NewService(tokens, rules, rbac.OriginalStatus())
			require.NoError(t, err)
			rfcServer, originalServer := vectorServer(t, rfc, known, v.Cases), vectorServer(t, original, known, v.Cases)

			for _, c := range v.Cases {
				t.Run(c.ID, func(t *testing.T) {
					req := rbac.Request{Method: c.Method, Header: http.Header{}, Params: func(name string) string { return c.Params[name] }}
					if c.Endpoint != nil {
						req.Endpoint = *c.Endpoint
					}
					if c.Authorization != nil {
						req.Header.Set("Authorization", *c.Authorization)
					}
					d := rfc.Authorize(t.Context(), req)
					require.Equal(t, c.Allowed, d.Allowed)
					require.Equal(t, c.Reason, d.Reason)
					require.Equal(t, c.StatusRFC6750, d.Reason.Status())
					require.Equal(t, c.Status, d.Reason.OriginalStatus())
					require.Equal(t, c.StatusRFC6750, ask(t, rfcServer, c).StatusCode)
					require.Equal(t, c.Status, ask(t, originalServer, c).StatusCode)
				})
			}
		}
	}
}

// vectorServer serves every endpoint of the cases under its name, with a path parameter for each of its own. An empty
// parameter is one that the route does not have: no wildcard matches it.
func vectorServer(t *testing.T, s *rbac.Service, known map[string]bool, cases []vectorCase) string {
	mux := http.NewServeMux()
	served := make(map[string]bool)
	for _, c := range cases {
		pattern, _ := vectorRoute(c)
		if served[pattern] {
			continue
		}
		served[pattern] = true
		endpoint := rbac.Every
		if c.Endpoint != nil && known[*c.Endpoint] {
			endpoint = *c.Endpoint
		}
		guard, err := s.Middleware(endpoint)
		require.NoError(t, err)
		mux.Handle(pattern, guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func vectorRoute(c vectorCase) (pattern, path string) {
	pattern, path = "/default", "/default"
	if c.Endpoint != nil {
		pattern, path = "/action/"+*c.Endpoint, "/action/"+*c.Endpoint
	}
	for _, name := range slices.Sorted(maps.Keys(c.Params)) {
		if value := c.Params[name]; value != "" {
			pattern, path = pattern+"/"+name+"/{"+name+"}", path+"/"+name+"/"+escape(value)
		}
	}
	return pattern, path
}

// escape writes a path segment with every byte escaped, so that the mux has to decode it.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteByte('%')
		b.WriteByte("0123456789ABCDEF"[c>>4])
		b.WriteByte("0123456789ABCDEF"[c&15])
	}
	return b.String()
}

func ask(t *testing.T, server string, c vectorCase) *http.Response {
	_, path := vectorRoute(c)
	req, err := http.NewRequestWithContext(t.Context(), c.Method, server+path, http.NoBody)
	require.NoError(t, err)
	if c.Authorization != nil {
		req.Header["Authorization"] = []string{*c.Authorization}
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}
