package authn_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

func loadVector(t *testing.T, name string, into any) {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}

// sysauthVector is a system authentication store, as the vectors have it.
type sysauthVector struct {
	Principals map[string]struct {
		Password string
		Roles    []string
	}
	Anonymous struct {
		Action string
		Roles  []string
	}
	Trusted map[string]struct {
		Values []string
		Regex  string
	}
}

// handler is the system handler with that store.
func (v sysauthVector) handler(t *testing.T) authn.Handler {
	store, err := authn.NewSystemStore(authn.SystemConfig{Iterations: 10, AllowWeak: true})
	require.NoError(t, err)
	require.NoError(t, store.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error {
		for name, p := range v.Principals {
			tx.AddPrincipal(name, p.Password, p.Roles...)
		}
		for name, p := range v.Trusted {
			if p.Regex != "" {
				tx.TrustClientProposedPropertyMatches(name, p.Regex)
			} else {
				tx.TrustClientProposedPropertyIn(name, p.Values...)
			}
		}
		switch v.Anonymous.Action {
		case "allow":
			return tx.AllowAnonymousConnections(v.Anonymous.Roles...)
		case "abstain":
			return tx.AbstainAnonymousConnections()
		}
		return tx.DenyAnonymousConnections()
	}))
	return store
}

type handlerVector struct {
	Name, Type string
	Registered bool
	Answer     string
	Roles      []string
	Principal  string
	Properties map[string]string
}

func (h handlerVector) handler(t *testing.T) authn.Handler {
	return authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		response := authn.Response{Roles: h.Roles, Principal: h.Principal, Properties: h.Properties}
		switch h.Answer {
		case "allow":
			response.Answer = authn.Allow
		case "abstain":
			response.Answer = authn.Abstain
		case "error":
			return authn.Response{}, errors.New("failed")
		default:
			require.Equal(t, "deny", h.Answer)
		}
		return response, nil
	})
}

func TestVectorsOfTheChain(t *testing.T) {
	t.Parallel()
	var v struct {
		SecurityDefaults struct{ AnonymousRoles, NamedRoles []string }
		Cases            []struct {
			ID       string
			Sysauth  sysauthVector
			Handlers []handlerVector
			Request  struct {
				Principal, Password string
				Proposed            map[string]string
			}
			Expect struct {
				Decision   string
				By         *string
				Principal  string
				Roles      []string
				Properties map[string]string
			}
		}
	}
	loadVector(t, "paths/chain.json", &v)
	require.NotEmpty(t, v.Cases)
	for _, c := range v.Cases {
		for _, parallel := range []bool{false, true} {
			t.Run(c.ID, func(t *testing.T) {
				config := authn.Config{Parallel: parallel, Roles: func(principal string) []string {
					if principal == "" {
						return v.SecurityDefaults.AnonymousRoles
					}
					return v.SecurityDefaults.NamedRoles
				}}
				var names []string
				for _, h := range c.Handlers {
					if h.Type == "control" {
						names = append(names, h.Name)
					}
				}
				controls, err := authn.NewControls(everybodyMay, names...)
				require.NoError(t, err)
				defer controls.Close()
				for _, h := range c.Handlers {
					e := authn.Entry{Name: h.Name}
					switch h.Type {
					case "system":
						e.Handler = c.Sysauth.handler(t)
					case "local":
						e.Handler = h.handler(t)
					case "control":
						e = controls.Entry(h.Name)
						if h.Registered {
							_, err := controls.Register(registrant("session"), h.Name, h.handler(t))
							require.NoError(t, err)
						}
					default:
						t.Fatalf("a handler of type %q", h.Type)
					}
					config.Handlers = append(config.Handlers, e)
				}
				chain, err := authn.NewChain(config)
				require.NoError(t, err)
				login, err := chain.Login(t.Context(), &authn.Request{Principal: c.Request.Principal, Credentials: []byte(c.Request.Password), Proposed: c.Request.Proposed})
				by := ""
				if c.Expect.By != nil {
					by = *c.Expect.By
				}
				if c.Expect.Decision == "deny" {
					require.Nil(t, login)
					require.Equal(t, by, refused(t, err).By)
					return
				}
				require.Equal(t, "allow", c.Expect.Decision)
				require.NoError(t, err)
				require.Equal(t, by, login.By)
				require.Equal(t, c.Expect.Principal, login.Principal.SystemID)
				require.ElementsMatch(t, c.Expect.Roles, login.Principal.Roles)
				require.Equal(t, c.Expect.Properties, login.Properties)
			})
		}
	}
}

// everybodyMay register handlers.
func everybodyMay(chansec.Principal, string) (bool, error) { return true, nil }

func registrant(id string) authn.Registrant {
	return authn.Registrant{ID: id, Caller: chansec.StaticCaller(chansec.Principal{SystemID: id, Proof: "test"})}
}

// deepstreamResult is what a type of deepstream answers; nil is nothing.
type deepstreamResult struct {
	IsValid    bool
	ID         string
	ClientData any
	ServerData any
}

func (d *deepstreamResult) handler() authn.Handler {
	return authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		if d == nil {
			return authn.Response{Answer: authn.Abstain}, nil
		}
		response := authn.Response{ClientData: d.ClientData}
		if d.IsValid {
			response.Answer, response.Principal = authn.Allow, d.ID
		}
		return response, nil
	})
}

func TestVectorsOfDeepstreamsTypesInARow(t *testing.T) {
	t.Parallel()
	var v struct {
		Cases []struct {
			ID       string
			Chain    [][2]json.RawMessage
			Asked    []string
			Callback []json.RawMessage
		}
	}
	loadVector(t, "valve/auth-combine.json", &v)
	require.NotEmpty(t, v.Cases)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			var config authn.Config
			for _, pair := range c.Chain {
				var name string
				var result *deepstreamResult
				require.NoError(t, json.Unmarshal(pair[0], &name))
				require.NoError(t, json.Unmarshal(pair[1], &result))
				config.Handlers = append(config.Handlers, authn.Entry{Name: name, Handler: result.handler()})
			}
			chain, err := authn.NewChain(config)
			require.NoError(t, err)
			login, err := chain.Login(t.Context(), &authn.Request{Principal: "x"})
			var valid bool
			var want deepstreamResult
			require.NoError(t, json.Unmarshal(c.Callback[0], &valid))
			if len(c.Callback) > 1 {
				require.NoError(t, json.Unmarshal(c.Callback[1], &want))
			}
			require.Equal(t, valid, err == nil)
			var votes []authn.Vote
			if valid {
				require.Equal(t, want.ID, login.Principal.SystemID)
				require.Equal(t, want.ClientData, login.ClientData)
				votes = login.Votes
			} else {
				require.Equal(t, want.ClientData, refused(t, err).ClientData)
				votes = refused(t, err).Votes
			}
			var asked []string
			for _, vote := range votes {
				asked = append(asked, vote.Handler)
			}
			require.Equal(t, c.Asked, asked)
		})
	}
}
