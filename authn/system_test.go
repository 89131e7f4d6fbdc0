package authn_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// weak makes hashing cheap.
var weak = authn.SystemConfig{Iterations: 10, AllowWeak: true, Permits: everybody}

func everybody(chansec.Principal, string) (bool, error) { return true, nil }

func named(name string) authn.Actor { return authn.ActorOf(chansec.Principal{SystemID: name}) }

func newSystem(t testing.TB, c authn.SystemConfig) *authn.SystemStore {
	s, err := authn.NewSystemStore(c)
	require.NoError(t, err)
	return s
}

func run(t testing.TB, s *authn.SystemStore, script string) {
	require.NoError(t, s.UpdateScript(context.Background(), authn.Root(), script))
}

func login(t testing.TB, s *authn.SystemStore, principal, password string) authn.Response {
	r, err := s.Authenticate(context.Background(), &authn.Request{Principal: principal, Credentials: []byte(password)})
	require.NoError(t, err)
	return r
}

func configuration(t testing.TB, s *authn.SystemStore) authn.SystemConfiguration {
	c, err := s.Configuration(authn.Root())
	require.NoError(t, err)
	return c
}

// sysauth is a system authentication store of the vectors.
type sysauth struct {
	Principals map[string]struct {
		Password, LockedBy string
		Roles              []string
	}
	Anonymous struct {
		Action string
		Roles  []string
	}
	Trusted map[string]struct {
		Values []string
		Regex  *string
	}
}

func (v sysauth) fill(t *testing.T, s *authn.SystemStore) {
	require.NoError(t, s.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error {
		for name, p := range v.Principals {
			tx.AddLockedPrincipal(name, p.Password, p.LockedBy, p.Roles...)
		}
		switch v.Anonymous.Action {
		case "allow":
			tx.AllowAnonymousConnections(v.Anonymous.Roles...)
		case "abstain":
			tx.AbstainAnonymousConnections()
		}
		for name, p := range v.Trusted {
			if p.Regex != nil {
				tx.TrustClientProposedPropertyMatches(name, *p.Regex)
			} else {
				tx.TrustClientProposedPropertyIn(name, p.Values...)
			}
		}
		return nil
	}))
}

// holds is the configuration of a store that holds just that.
func (v sysauth) holds() authn.SystemConfiguration {
	c := authn.SystemConfiguration{AnonymousRoles: sorted(v.Anonymous.Roles)}
	c.Anonymous = map[string]authn.Answer{"allow": authn.Allow, "deny": authn.Deny, "abstain": authn.Abstain}[v.Anonymous.Action]
	for _, name := range slices.Sorted(maps.Keys(v.Principals)) {
		p := v.Principals[name]
		c.Principals = append(c.Principals, authn.SystemPrincipal{Name: name, Roles: sorted(p.Roles), LockedBy: p.LockedBy})
	}
	for _, name := range slices.Sorted(maps.Keys(v.Trusted)) {
		p := authn.TrustedProperty{Name: name}
		if re := v.Trusted[name].Regex; re != nil {
			p.Regex = *re
		} else {
			p.Values = sorted(v.Trusted[name].Values)
		}
		c.Trusted = append(c.Trusted, p)
	}
	return c
}

func sorted(list []string) []string { return append([]string{}, slices.Sorted(slices.Values(list))...) }

// content is a configuration without its revision, and without the difference between no list and an empty one.
func content(t *testing.T, s *authn.SystemStore) authn.SystemConfiguration {
	c := configuration(t, s)
	c.Revision = 0
	c.AnonymousRoles = sorted(c.AnonymousRoles)
	return c
}

func TestSystemScripts(t *testing.T) {
	var v struct {
		Store sysauth
		Cases []struct {
			ID, As, Script, ErrorKind string
			OK                        bool
			After                     sysauth
			ErrorLine                 int
			Verify                    []struct {
				Principal, Password string
				OK                  bool
			}
		}
	}
	readVector(t, "testdata/paths/script-sysauth.json", &v)
	require.NotEmpty(t, v.Cases)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			s := newSystem(t, weak)
			v.Store.fill(t, s)
			require.Equal(t, v.Store.holds(), content(t, s))
			version := s.Version()

			err := s.UpdateScript(t.Context(), named(c.As), c.Script)
			if !c.OK {
				require.ErrorIs(t, err, authn.Kind(c.ErrorKind))
				var e *authn.ScriptError
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.ErrorLine, e.Reports[0].Line)
				require.Positive(t, e.Reports[0].Column)
				require.Equal(t, version, s.Version())
				require.Equal(t, v.Store.holds(), content(t, s), "nothing was changed")
				for name, p := range v.Store.Principals {
					require.Equal(t, authn.Allow, login(t, s, name, p.Password).Answer, "no password was changed")
				}
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.After.holds(), content(t, s))
			for _, x := range c.Verify {
				require.Equal(t, x.OK, login(t, s, x.Principal, x.Password).Answer == authn.Allow)
				err := s.Update(t.Context(), named(c.As), func(tx *authn.Tx) error { return tx.VerifyPassword(x.Principal, x.Password) })
				require.Equal(t, x.OK, err == nil, err)
			}
		})
	}
}

// TestSystemInChains holds the handler alone against what the chains of the vectors expect of it.
func TestSystemInChains(t *testing.T) {
	var v struct {
		SecurityDefaults struct{ AnonymousRoles, NamedRoles []string }
		Cases            []struct {
			ID       string
			Sysauth  sysauth
			Handlers []struct {
				Name, Type, Answer string
				Registered         *bool
			}
			Request struct {
				Principal, Password string
				Proposed            map[string]string
			}
			Expect struct {
				Decision, By, Principal string
				Roles                   []string
				Properties              map[string]string
			}
		}
	}
	readVector(t, "testdata/paths/chain.json", &v)
	asked := 0
	for _, c := range v.Cases {
		reached := false
		for _, h := range c.Handlers {
			if reached = h.Type == "system"; reached || h.Answer != "abstain" && (h.Registered == nil || *h.Registered) {
				break
			}
		}
		if !reached {
			continue // somebody else decides
		}
		asked++
		t.Run(c.ID, func(t *testing.T) {
			s := newSystem(t, weak)
			c.Sysauth.fill(t, s)
			r := &authn.Request{Principal: c.Request.Principal, Credentials: []byte(c.Request.Password), Proposed: c.Request.Proposed}
			r.Roles = v.SecurityDefaults.NamedRoles
			if r.Principal == "" {
				r.Roles = v.SecurityDefaults.AnonymousRoles
			}
			got, err := s.Authenticate(t.Context(), r)
			require.NoError(t, err)
			if c.Expect.By != "system" {
				require.Equal(t, authn.Abstain, got.Answer)
				return
			}
			require.Equal(t, c.Expect.Decision, got.Answer.String())
			if got.Answer == authn.Allow {
				require.Equal(t, c.Expect.Principal, got.Principal)
				require.Equal(t, c.Expect.Roles, got.Roles)
				require.Equal(t, c.Expect.Properties, got.Properties)
			}
		})
	}
	require.Greater(t, asked, 10)
}

func TestSystemScriptErrorsSayWhere(t *testing.T) {
	long := strings.Repeat("x", 513)
	for _, tt := range []struct {
		name, script string
		kind         authn.Kind
		line, column int
		want         string
	}{
		{"a command of the other store", "isolate path 'a'", authn.Syntax, 1, 1, "want add or remove"},
		{"a password without quotes", "\n  add principal 'ann' hunter2", authn.Syntax, 2, 23, "want a string in quotes"},
		{"a password that does not end", "set password 'ann' 'hunter2", authn.Syntax, 1, 20, "want a closing quote"},
		{"more behind a password", "set password 'ann' 'x' 'hunter2'", authn.Syntax, 1, 24, "want the end of the line"},
		{"a lock without a name", "add principal 'ann' 'x' ['A'] locked", authn.Syntax, 1, 37, "want by"},
		{"a lock before the roles", "add principal 'ann' 'x' locked by 'bob' ['A']", authn.Syntax, 1, 41, "want the end of the line"},
		{"no values", "trust client proposed property 'P' if value in", authn.Syntax, 1, 47, "want a list of strings"},
		{"a condition that is none", "trust client proposed property 'P' if value is 'x'", authn.Syntax, 1, 45, "want in or matches"},
		{"no name", "add principal '' 'x'", authn.InvalidArgument, 1, 1, "1 to 512 bytes"},
		{"a name that is too long", "add principal '" + long + "' 'x'", authn.InvalidArgument, 1, 1, "1 to 512 bytes"},
		{"no password", "add principal 'ann' ''", authn.InvalidArgument, 1, 1, "1 to 1024 bytes"},
		{"a password that is too long", "set password 'bob' '" + strings.Repeat("hunter2", 200) + "'", authn.InvalidArgument, 1, 1, "1 to 1024 bytes"},
		{"a password with a control character", "add principal 'ann' 'hunter2\x01'", authn.InvalidArgument, 1, 1, "without control characters"},
		{"a role without a name", "assign roles 'bob' ['A' '']", authn.InvalidArgument, 1, 1, `role: want`},
		{"a locking principal that cannot be", "add principal 'ann' 'x' locked by '\x01'", authn.InvalidArgument, 1, 1, "locking principal"},
		{"somebody who is there twice", "add principal 'ann' 'x'\nadd principal 'ann' 'x'", authn.PrincipalExists, 2, 1, `"ann"`},
		{"somebody who was removed", "remove principal 'bob'\nassign roles 'bob' []", authn.NoSuchPrincipal, 2, 1, `"bob"`},
		{"nobody to verify", "verify password 'ann' 'x'", authn.NoSuchPrincipal, 1, 1, `"ann"`},
		{"another password", "# try\nverify password 'bob' 'hunter2'", authn.PasswordMismatch, 2, 1, `"bob"`},
		{"a property with a blank", "trust client proposed property 'a b' if value in []", authn.InvalidProperty, 1, 1, "blanks"},
		{"a property with a parenthesis", "trust client proposed property 'a)' if value in []", authn.InvalidProperty, 1, 1, "parentheses"},
		{"a property with a quote", `ignore client proposed property "a'"`, authn.InvalidProperty, 1, 1, "quotes"},
		{"a property without a name", "ignore client proposed property ''", authn.InvalidProperty, 1, 1, "1 to 512 bytes"},
		{"a property of the server", "ignore client proposed property '$Principal'", authn.InvalidProperty, 1, 1, "do not begin with $"},
		{"an expression of Java's", "trust client proposed property 'P' if value matches '(?<=a)b'", authn.InvalidRegex, 1, 1, "RE2's syntax: invalid"},
		{"an expression that leaves its group", "trust client proposed property 'P' if value matches 'a)|(b'", authn.InvalidRegex, 1, 1, "unexpected )"},
		{"an expression that is too large", "trust client proposed property 'P' if value matches '" + strings.Repeat("x", 1001) + "'", authn.InvalidRegex, 1, 1, "at most 1000 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSystem(t, weak)
			run(t, s, "add principal 'bob' 'b0b'")
			err := s.UpdateScript(t.Context(), named("admin"), tt.script)
			require.ErrorIs(t, err, tt.kind)
			var e *authn.ScriptError
			require.ErrorAs(t, err, &e)
			require.Equal(t, []int{tt.line, tt.column}, []int{e.Reports[0].Line, e.Reports[0].Column}, err)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "hunter2", "a password is in no error")
			require.EqualValues(t, 1, s.Version())
		})
	}
}

func TestScriptsAreBounded(t *testing.T) {
	s := newSystem(t, weak)
	require.NoError(t, s.UpdateScript(t.Context(), authn.Root(), strings.Repeat("\n", 1<<20)))
	require.ErrorIs(t, s.UpdateScript(t.Context(), authn.Root(), strings.Repeat("\n", 1<<20+1)), authn.Limit)
	var e *authn.ScriptError
	require.ErrorAs(t, s.UpdateScript(t.Context(), authn.Root(), strings.Repeat("x\n", 100)), &e)
	require.Len(t, e.Reports, 20)
}

func TestListsAreBounded(t *testing.T) {
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint("R", i)
	}
	for name, f := range map[string]func(*authn.Tx, []string) error{
		"roles of a principal":    func(tx *authn.Tx, list []string) error { return tx.AddPrincipal("ann", "x", list...) },
		"roles of anonymous ones": func(tx *authn.Tx, list []string) error { return tx.AllowAnonymousConnections(list...) },
		"trusted values":          func(tx *authn.Tx, list []string) error { return tx.TrustClientProposedPropertyIn("P", list...) },
		"trusted properties": func(tx *authn.Tx, list []string) error {
			for _, name := range list {
				tx.TrustClientProposedPropertyIn(name)
			}
			return nil
		},
	} {
		s := newSystem(t, weak)
		require.ErrorIs(t, s.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error { return f(tx, many) }), authn.Limit, name)
		require.NoError(t, s.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error { return f(tx, many[1:]) }), name)
	}
}

func TestWhoMayChangeTheStore(t *testing.T) {
	admins := func(p chansec.Principal, permission string) (bool, error) {
		if p.SystemID == "broken" {
			return true, fmt.Errorf("the policy is away: %w", chansec.ErrPermission)
		}
		return slices.Contains(p.Roles, permission), nil
	}
	modify := []string{authn.PermissionModifySecurity}
	tomorrow := time.Now().Add(24 * time.Hour)
	for _, tt := range []struct {
		name    string
		permits func(chansec.Principal, string) (bool, error)
		actor   authn.Actor
		want    error
	}{
		{"nobody", everybody, authn.Actor{}, chansec.ErrPermission},
		{"a name that is empty", everybody, named(""), chansec.ErrPermission},
		{"an administrator", admins, authn.ActorOf(chansec.Principal{SystemID: "ann", Roles: modify}), nil},
		{"somebody else", admins, named("ann"), chansec.ErrPermission},
		{"somebody who may only look", admins, authn.ActorOf(chansec.Principal{SystemID: "ann", Roles: []string{authn.PermissionViewSecurity}}), chansec.ErrPermission},
		{"an administrator where nobody asks", nil, authn.ActorOf(chansec.Principal{SystemID: "ann", Roles: modify}), chansec.ErrPermission},
		{"the program where nobody asks", nil, authn.Root(), nil},
		{"somebody of whom nobody can say", admins, named("broken"), chansec.ErrUndecided},
		{"a token for all channels", admins, authn.ActorOf(chansec.Principal{SystemID: "ann", Roles: modify,
			Grant: &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: tomorrow}}), nil},
		{"a token for some", admins, authn.ActorOf(chansec.Principal{SystemID: "ann", Roles: modify,
			Grant: &chansec.Grant{Role: chansec.RoleAdmin, Channels: []string{""}, ExpiresAt: tomorrow}}), chansec.ErrPermission},
		{"a token to read", admins, authn.ActorOf(chansec.Principal{SystemID: "ann", Roles: modify,
			Grant: &chansec.Grant{Role: chansec.RoleRead, AllChannels: true, ExpiresAt: tomorrow}}), chansec.ErrPermission},
		{"a token that expired", admins, authn.ActorOf(chansec.Principal{SystemID: "ann", Roles: modify,
			Grant: &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: time.Now()}}), chansec.ErrPermission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := weak
			c.Permits = tt.permits
			s := newSystem(t, c)
			err := s.UpdateScript(t.Context(), tt.actor, "this is no script")
			if tt.want == nil {
				require.ErrorIs(t, err, authn.Syntax)
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.False(t, errors.Is(err, authn.Syntax), "the script was not read")
			require.False(t, errors.Is(err, chansec.ErrPermission) && errors.Is(err, chansec.ErrUndecided))
			err = s.Update(t.Context(), tt.actor, func(*authn.Tx) error { panic("called") })
			require.ErrorIs(t, err, tt.want)
		})
	}
}

func TestLookingTakesViewSecurity(t *testing.T) {
	c := weak
	c.Permits = func(_ chansec.Principal, permission string) (bool, error) {
		return permission == authn.PermissionViewSecurity, nil
	}
	s := newSystem(t, c)
	_, err := s.Configuration(named("ann"))
	require.NoError(t, err)
	require.ErrorIs(t, s.UpdateScript(t.Context(), named("ann"), ""), chansec.ErrPermission)
	c.Permits = func(_ chansec.Principal, permission string) (bool, error) {
		return permission == authn.PermissionModifySecurity, nil
	}
	_, err = newSystem(t, c).Configuration(named("ann"))
	require.ErrorIs(t, err, chansec.ErrPermission)
}

func TestARightThatIsLostWhileWaitingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		lost := map[string]bool{}
		c := weak
		c.Permits = func(p chansec.Principal, _ string) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			return !lost[p.SystemID], nil
		}
		s := newSystem(t, c)
		going := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			require.NoError(t, s.Update(t.Context(), authn.Root(), func(*authn.Tx) error { <-going; return nil }))
		})
		synctest.Wait()
		all.Go(func() {
			require.ErrorIs(t, s.UpdateScript(t.Context(), named("ann"), "deny anonymous connections"), chansec.ErrPermission)
		})
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() { require.ErrorIs(t, s.UpdateScript(ctx, named("bob"), ""), context.Canceled) })
		synctest.Wait()
		cancel() // who waits can stop waiting
		mu.Lock()
		lost["ann"] = true
		mu.Unlock()
		close(going)
		all.Wait()
	})
}

func TestChangesAreOfOneRevision(t *testing.T) {
	s := newSystem(t, weak)
	require.Zero(t, s.Version())
	run(t, s, "add principal 'ann' 'pw' ['A']\nallow anonymous connections")
	require.EqualValues(t, 1, s.Version())
	run(t, s, "assign roles 'ann' ['A' 'A']\nallow anonymous connections []\nverify password 'ann' 'pw'\nignore client proposed property 'P'")
	require.EqualValues(t, 1, s.Version(), "nothing changed")
	run(t, s, "")
	expect := func(revision uint64) error {
		return s.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error {
			_ = tx.Expect(revision) // whatever is returned, it failed
			return tx.Run("set password 'ann' 'pw2'")
		})
	}
	require.ErrorIs(t, expect(0), authn.Conflict)
	require.Equal(t, authn.Allow, login(t, s, "ann", "pw").Answer)
	require.NoError(t, expect(1))
	require.EqualValues(t, 2, s.Version())
	require.Equal(t, authn.Deny, login(t, s, "ann", "pw").Answer)
	require.Equal(t, authn.Allow, login(t, s, "ann", "pw2").Answer)
}

func TestAFailedTransactionDoesNothing(t *testing.T) {
	s := newSystem(t, weak)
	run(t, s, "add principal 'ann' 'pw'")
	failure := errors.New("failure")
	require.ErrorIs(t, s.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error {
		require.NoError(t, tx.RemovePrincipal("ann"))
		return failure
	}), failure)
	require.Panics(t, func() {
		_ = s.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error { _ = tx.RemovePrincipal("ann"); panic("failure") })
	})
	var kept *authn.Tx
	require.NoError(t, s.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error { kept = tx; return nil }))
	require.ErrorIs(t, kept.RemovePrincipal("ann"), authn.Ended)
	require.Equal(t, authn.Allow, login(t, s, "ann", "pw").Answer)
}

func TestChangesEndWithTheirContext(t *testing.T) {
	s := newSystem(t, weak)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, authn.Root(), func(tx *authn.Tx) error {
		require.NoError(t, tx.AddPrincipal("ann", "pw"))
		cancel()
		return tx.AddPrincipal("bob", "pw")
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.UpdateScript(ctx, authn.Root(), "deny anonymous connections"), context.Canceled)
	require.Empty(t, configuration(t, s).Principals)
	_, err = s.Authenticate(ctx, &authn.Request{Principal: "ann"})
	require.ErrorIs(t, err, context.Canceled)
}

func TestBootstrapAddsTheFirstAdministratorOnly(t *testing.T) {
	s := newSystem(t, weak)
	require.Equal(t, authn.Abstain, login(t, s, "root", "pw").Answer)
	require.Equal(t, authn.Deny, login(t, s, "", "").Answer, "nobody is let in by default")
	_, err := s.Bootstrap(t.Context(), "root", "")
	require.ErrorIs(t, err, authn.InvalidArgument)
	added, err := s.Bootstrap(t.Context(), "root", "pw", "ADMINISTRATOR")
	require.NoError(t, err)
	require.True(t, added)
	require.Equal(t, []string{"ADMINISTRATOR"}, login(t, s, "root", "pw").Roles)
	added, err = s.Bootstrap(t.Context(), "mallory", "pw", "ADMINISTRATOR")
	require.NoError(t, err)
	require.False(t, added)
	require.Equal(t, authn.Abstain, login(t, s, "mallory", "pw").Answer)
}

func TestAHashIsNoPassword(t *testing.T) {
	// Somebody who read a store's file can do nothing with it: in a script a hash is a password like others.
	const stolen = "$pbkdf2-sha256$i=600000$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	s := newSystem(t, weak)
	run(t, s, "add principal 'ann' '"+stolen+"'\nadd principal 'bob' '$argon2id$x'")
	require.Equal(t, authn.Allow, login(t, s, "ann", stolen).Answer)
	require.Equal(t, authn.Allow, login(t, s, "bob", "$argon2id$x").Answer)
}

func TestLocksBindWhoIsNotTheLocker(t *testing.T) {
	s := newSystem(t, weak)
	run(t, s, "add principal 'ann' 'pw' ['A'] locked by 'zoe'\nadd principal 'bob' 'pw' locked by ''")
	for _, command := range []string{"assign roles 'ann' ['A']", "set password 'ann' 'pw'", "remove principal 'ann'"} {
		require.ErrorIs(t, s.UpdateScript(t.Context(), named("ann"), command), authn.Locked, command)
		require.ErrorIs(t, s.UpdateScript(t.Context(), named("root"), command), authn.Locked, "the name of the program's own actor is a name like others")
		require.NoError(t, s.UpdateScript(t.Context(), named("ann"), strings.Replace(command, "ann", "bob", 1)), "nobody locked bob")
	}
	require.NoError(t, s.UpdateScript(t.Context(), named("zoe"), "assign roles 'ann' ['B']"))
	run(t, s, "remove principal 'ann'")
}

func TestGuessesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := weak
		c.WrongGuesses = 3
		s := newSystem(t, c)
		run(t, s, "add principal 'ann' 'pw'\nadd principal 'bob' 'pw'")
		verify := func(principal, password string) error {
			return s.UpdateScript(t.Context(), named("admin"), "verify password '"+principal+"' '"+password+"'")
		}
		for range 3 {
			require.NoError(t, verify("ann", "pw"), "right ones do not count")
			require.ErrorIs(t, verify("ann", "x"), authn.PasswordMismatch)
		}
		require.ErrorIs(t, verify("ann", "x"), authn.Limit)
		require.ErrorIs(t, verify("ann", "pw"), authn.Limit, "whoever guesses does not learn that it was right")
		require.NoError(t, verify("bob", "pw"), "others can be verified")
		require.Equal(t, authn.Allow, login(t, s, "ann", "pw").Answer, "and can log in")
		time.Sleep(time.Minute)
		require.NoError(t, verify("ann", "pw"))
		require.ErrorIs(t, verify("ann", "x"), authn.PasswordMismatch)
	})
}

func TestTrustedProperties(t *testing.T) {
	s := newSystem(t, weak)
	run(t, s, `trust client proposed property 'IN' if value in ['' 'gold' 'it\'s']
trust client proposed property 'NONE' if value in []
trust client proposed property 'RE' if value matches '[a-z]+'
trust client proposed property 'ALT' if value matches 'a|ab|^c$'
trust client proposed property 'LAZY' if value matches 'x+?y??'
trust client proposed property 'QUOTED' if value matches '\\Qa+b'
trust client proposed property 'EMPTY' if value matches ''
trust client proposed property 'LINES' if value matches "(?m)^a$"
trust client proposed property 'ANY' if value matches '(?s).*'
add principal 'ann' 'pw'`)
	for _, tt := range []struct {
		property, value string
		want            bool
	}{
		{"IN", "gold", true}, {"IN", "", true}, {"IN", "it's", true}, {"IN", "Gold", false}, {"IN", "gold ", false},
		{"NONE", "", false},
		{"RE", "abc", true}, {"RE", "ab9", false}, {"RE", "9ab", false}, {"RE", "ab\n", false}, {"RE", "", false},
		{"ALT", "a", true}, {"ALT", "ab", true}, {"ALT", "c", true}, {"ALT", "abc", false}, {"ALT", "xc", false},
		{"LAZY", "xxxy", true}, {"LAZY", "xxx", true}, {"LAZY", "xxyy", false},
		{"QUOTED", "a+b", true}, {"QUOTED", "aab", false},
		{"EMPTY", "", true}, {"EMPTY", "a", false},
		{"LINES", "a", true}, {"LINES", "a\nb", false},
		{"ANY", strings.Repeat("x", 4096), true}, {"ANY", strings.Repeat("x", 4097), false}, {"ANY", "\xff", true},
		{"OTHER", "gold", false}, {"$Roles", "ADMIN", false}, {"in", "gold", false},
	} {
		r, err := s.Authenticate(t.Context(), &authn.Request{Principal: "ann", Credentials: []byte("pw"), Proposed: map[string]string{tt.property: tt.value}})
		require.NoError(t, err)
		require.Equal(t, authn.Allow, r.Answer)
		want := map[string]string{}
		if tt.want {
			want[tt.property] = tt.value
		}
		require.Equal(t, want, r.Properties, "%s %q", tt.property, tt.value)
	}
	run(t, s, "ignore client proposed property 'IN'\nallow anonymous connections")
	r, err := s.Authenticate(t.Context(), &authn.Request{Proposed: map[string]string{"IN": "gold", "RE": "a"}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"RE": "a"}, r.Properties)
}

func TestWhoIsAllowedHasWhatTheStoreSaysNow(t *testing.T) {
	s := newSystem(t, weak)
	run(t, s, "add principal 'ann' 'pw' ['A']")
	request := &authn.Request{Principal: "ann", Credentials: []byte("pw"), Roles: []string{"Z", "A"}}
	r, err := s.Authenticate(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, authn.Response{
		Answer: authn.Allow, Reason: "the password is right", Principal: "ann", Proof: authn.ProofPassword,
		Roles: []string{"A", "Z"}, Properties: map[string]string{},
	}, r)
	require.Equal(t, []string{"Z", "A"}, request.Roles)
	r.Roles[0] = "X"
	require.Equal(t, []string{"A"}, configuration(t, s).Principals[0].Roles, "the store keeps its own")
	run(t, s, "remove principal 'ann'")
	require.Equal(t, authn.Abstain, login(t, s, "ann", "pw").Answer)
}

func TestConfigsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, c := range map[string]authn.SystemConfig{
		"few iterations":             {Iterations: 599_999},
		"none at all":                {Iterations: -1, AllowWeak: true},
		"more than anybody can wait": {Iterations: 6_000_001},
		"fewer than no guesses":      {WrongGuesses: -1},
	} {
		_, err := authn.NewSystemStore(c)
		require.ErrorIs(t, err, authn.InvalidArgument, name)
	}
	_, err := authn.NewSystemStore(authn.SystemConfig{})
	require.NoError(t, err)
}

func TestTheAuditSeesEveryAttemptWithoutPasswords(t *testing.T) {
	var seen []authn.SystemChange
	c := weak
	c.Audit = func(_ context.Context, x authn.SystemChange) { seen = append(seen, x) }
	c.Permits = func(p chansec.Principal, _ string) (bool, error) { return p.SystemID != "mallory", nil }
	s := newSystem(t, c)
	last := func() authn.SystemChange {
		x := seen[len(seen)-1]
		seen = nil
		require.False(t, x.Time.IsZero())
		x.Time = time.Time{}
		return x
	}

	run(t, s, "# hunter2\nadd principal 'ann' 'hunter2' ['A']")
	require.Equal(t, authn.SystemChange{Actor: "root", Script: "# a comment\nadd principal 'ann' '***' ['A']", Revision: 1}, last())

	err := s.UpdateScript(t.Context(), named("bob"), "set password 'ann' hunter2\n")
	require.Equal(t, authn.SystemChange{Actor: "bob", Script: "# not a command\n", Err: err}, last())
	require.ErrorIs(t, err, authn.Syntax)

	err = s.UpdateScript(t.Context(), named("mallory"), "verify password 'ann' \"hunter2\"")
	require.Equal(t, authn.SystemChange{Actor: "mallory", Script: "verify password 'ann' '***'", Err: err}, last())
	require.ErrorIs(t, err, chansec.ErrPermission)

	err = s.Update(t.Context(), named("bob"), func(tx *authn.Tx) error {
		tx.SetPassword("ann", "hunter2")
		tx.AddLockedPrincipal("carl", "hunter2", "ann", "B")
		tx.AddPrincipal("dora\nremove principal 'ann'", "hunter2")
		return nil
	})
	require.Equal(t, authn.SystemChange{Actor: "bob", Err: err, Script: "set password 'ann' '***'\nadd principal 'carl' '***' ['B'] locked by 'ann'\n# a command that no script can hold"}, last())
	require.ErrorIs(t, err, authn.InvalidArgument)

	err = s.Update(t.Context(), named("bob"), func(tx *authn.Tx) error {
		_ = tx.DenyAnonymousConnections()
		return tx.Run("set password 'ann' 'hunter2'\nset password 'ann' 'hunter2")
	})
	require.Equal(t, authn.SystemChange{Actor: "bob", Err: err, Script: "deny anonymous connections\nset password 'ann' '***'\n# not a command"}, last())

	run(t, s, strings.Repeat(" ", 1<<20)) // nothing
	require.Zero(t, last().Revision)
	err = s.UpdateScript(t.Context(), named("bob"), "'hunter2"+strings.Repeat(" ", 1<<20))
	require.Equal(t, authn.SystemChange{Actor: "bob", Script: "# a script of 1048584 bytes", Err: err}, last())
}

// TestNoPasswordIsPrinted plants a password, and prints whatever there is.
func TestNoPasswordIsPrinted(t *testing.T) {
	const planted = "pl4nted-s3cret"
	var out strings.Builder
	c := weak
	c.Audit = func(_ context.Context, x authn.SystemChange) { fmt.Fprintf(&out, "%v %+v %#v\n", x, x, x) }
	s := newSystem(t, c)
	logger := slog.New(slog.NewTextHandler(&out, nil))
	structured := slog.New(slog.NewJSONHandler(&out, nil))
	show := func(x any) {
		fmt.Fprintf(&out, "%v %+v %#v %s\n", x, x, x, x)
		logger.Info("here", "it", x)
		structured.Info("here", "it", x)
	}
	require.NoError(t, s.Update(t.Context(), authn.Root(), func(tx *authn.Tx) error {
		tx.AddPrincipal("ann", planted)
		show(tx)
		return nil
	}))
	for _, script := range []string{
		"add principal 'ann' '" + planted + "'", "add principal 'bob' " + planted, "add principal 'bob' '" + planted, planted,
		"set password '" + planted + "'", "set password 'bob' '" + planted + "'", "verify password 'ann' '" + planted + "x'", "verify password 'ann' '" + planted + "'",
		"add principal 'bob' '" + planted + "\x01'", "# " + planted, "add principal bob '" + planted + "'", "set password 'ann' ['" + planted + "']",
	} {
		show(s.UpdateScript(t.Context(), named("admin"), script))
	}
	show(s)
	show(configuration(t, s))
	show(named("ann"))
	for _, password := range []string{planted, planted + "x"} {
		show(login(t, s, "ann", password))
		show(login(t, s, "eve", password))
	}
	b := new(authn.AuthenticationScriptBuilder).AddPrincipal("ann", planted)
	show(b)
	show(*b)
	require.NotContains(t, out.String(), planted)
	require.NotContains(t, out.String(), "pbkdf2-sha256$i", "nor a hash")
	require.Contains(t, out.String(), "password-mismatch", "the test sees what is printed")
}

func TestReadersNeverSeeHalfAChange(t *testing.T) {
	s := newSystem(t, weak)
	run(t, s, "add principal 'ann' 'one' ['ONE']\nallow anonymous connections ['ONE']\ntrust client proposed property 'P' if value in ['ONE']")
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				r, err := s.Authenticate(context.Background(), &authn.Request{Principal: "ann", Credentials: []byte("one"), Proposed: map[string]string{"P": "ONE"}})
				require.NoError(t, err)
				if r.Answer == authn.Allow {
					require.Equal(t, []string{"ONE"}, r.Roles)
					require.Equal(t, map[string]string{"P": "ONE"}, r.Properties)
				}
				c := configuration(t, s)
				require.Equal(t, c.AnonymousRoles, c.Principals[0].Roles)
				require.Equal(t, c.AnonymousRoles, c.Trusted[0].Values)
			}
		})
	}
	for i := range 200 {
		word := []string{"two", "one"}[i%2]
		upper := strings.ToUpper(word)
		run(t, s, "set password 'ann' '"+word+"'\nassign roles 'ann' ['"+upper+"']\nallow anonymous connections ['"+upper+"']\ntrust client proposed property 'P' if value in ['"+upper+"']")
	}
	close(done)
	all.Wait()
	require.EqualValues(t, 201, s.Version())
}
