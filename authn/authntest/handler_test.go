package authntest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/authn"
)

func by(name, password string) authn.Request {
	return authn.Request{Principal: name, Credentials: []byte(password), Proposed: map[string]string{"A": "a"}}
}

// expected is how a handler with one user answers.
var expected = Expectations{
	Allow:   []authn.Request{by("alice", "Wonderland")},
	Deny:    []authn.Request{by("alice", "Looking Glass"), by("alice", "")},
	Abstain: []authn.Request{by("bob", "Wonderland"), {}, {Credentials: []byte("Wonderland")}, {Principal: "alice"}},
}

type store struct{ password authn.Password }

func (s store) LookupUser(_ context.Context, name string) (authn.User, bool, error) {
	return authn.User{Password: s.password}, name == "alice", nil
}

func TestTheHandlersOfThePackage(t *testing.T) {
	t.Parallel()
	hash, err := authn.HashPassword("Wonderland", 10)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "users.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"users": {"alice": {"password": "`+hash+`"}}}`), 0o600))
	file, err := authn.OpenFile(path, authn.FileConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	password, err := authn.ParsePassword(hash)
	require.NoError(t, err)
	users, err := authn.NewPasswords(store{password}, authn.UsersConfig{Iterations: 10})
	require.NoError(t, err)
	cache, err := authn.NewCache(file, authn.CacheConfig{Yes: time.Hour, No: time.Hour})
	require.NoError(t, err)
	composite, err := authn.NewComposite(authn.Entry{Name: "file", Handler: file})
	require.NoError(t, err)
	for name, h := range map[string]authn.Handler{"file": file, "users": users, "cache": cache, "composite": composite} {
		t.Run(name, func(t *testing.T) { TestHandler(t, h, expected) })
	}
	t.Run("none", func(t *testing.T) {
		TestHandler(t, authn.None(), Expectations{Allow: []authn.Request{{}, by("alice", "x")}, Unproved: true})
	})
}

// TestBrokenHandlersAreFound: each breaks one rule.
func TestBrokenHandlersAreFound(t *testing.T) {
	t.Parallel()
	good := func(r *authn.Request) authn.Response {
		switch {
		case r.Principal != "alice" || r.Credentials == nil:
			return authn.Response{Answer: authn.Abstain}
		case string(r.Credentials) != "Wonderland":
			return authn.Response{}
		}
		return authn.Response{Answer: authn.Allow, Proof: authn.ProofPassword}
	}
	times := 0
	for rule, h := range map[string]authn.HandlerFunc{
		"":        func(_ context.Context, r *authn.Request) (authn.Response, error) { return good(r), nil },
		"answers": func(context.Context, *authn.Request) (authn.Response, error) { return authn.Response{}, nil },
		"proof": func(_ context.Context, r *authn.Request) (authn.Response, error) {
			a := good(r)
			a.Proof = ""
			return a, nil
		},
		"neighbours": func(_ context.Context, r *authn.Request) (authn.Response, error) {
			if len(r.Credentials) == len("Wonderland") && r.Principal == "alice" {
				return authn.Response{Answer: authn.Allow, Proof: "test"}, nil
			}
			return good(r), nil
		},
		"nothing": func(_ context.Context, r *authn.Request) (authn.Response, error) {
			if r.Principal == "" {
				return authn.Response{Answer: authn.Allow, Proof: "test"}, nil
			}
			return good(r), nil
		},
		"read only": func(_ context.Context, r *authn.Request) (authn.Response, error) {
			a := good(r)
			if r.Proposed != nil {
				r.Proposed["A"] = "b"
			}
			return a, nil
		},
		"secrets": func(_ context.Context, r *authn.Request) (authn.Response, error) {
			a := good(r)
			a.Reason = fmt.Sprintf("not %s", r.Credentials)
			return a, nil
		},
		"many": func(_ context.Context, r *authn.Request) (authn.Response, error) {
			if times++; times > 1 {
				return authn.Response{}, nil
			}
			return good(r), nil
		},
	} {
		var broken []string
		for _, r := range rules {
			if rule == "many" && r.name != rule {
				continue
			}
			times = 0
			x := &trial{ctx: t.Context(), handler: serial(h), want: expected}
			r.check(x)
			if len(x.problems) > 0 {
				broken = append(broken, r.name)
			}
		}
		if rule == "" {
			require.Empty(t, broken)
		} else {
			require.Contains(t, broken, rule)
		}
	}
}

// serial lets one at a time through, so that the broken ones break one rule only.
func serial(h authn.Handler) authn.Handler {
	turn := make(chan struct{}, 1)
	return authn.HandlerFunc(func(ctx context.Context, r *authn.Request) (authn.Response, error) {
		turn <- struct{}{}
		defer func() { <-turn }()
		return h.Authenticate(ctx, r)
	})
}

func TestNothingExpectedIsAProblem(t *testing.T) {
	t.Parallel()
	x := &trial{ctx: t.Context(), handler: authn.None()}
	checkAnswers(x)
	require.NotEmpty(t, x.problems)
}
