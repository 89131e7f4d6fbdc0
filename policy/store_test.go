package policy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func isolate(path string) func(*policy.Tx) error {
	return func(tx *policy.Tx) error { return tx.IsolatePath(path) }
}

func open(t *testing.T, b policy.Backend) *policy.Store {
	s, err := policy.Open(t.Context(), policy.DiffusionConfig(), b)
	require.NoError(t, err)
	return s
}

func TestTransactionsAreAllOrNothing(t *testing.T) {
	boom := errors.New("boom")
	for name, f := range map[string]func(*policy.Tx) error{
		"the function fails":             func(tx *policy.Tx) error { tx.IsolatePath("a"); return boom },
		"a command fails":                func(tx *policy.Tx) error { tx.IsolatePath("a"); return tx.IsolatePath("/") },
		"a failure that nobody looks at": func(tx *policy.Tx) error { tx.IsolatePath("/"); return tx.IsolatePath("a") },
		"a script fails in its last line": func(tx *policy.Tx) error {
			tx.IsolatePath("a")
			return tx.Run("isolate path 'b'\nset 'A' includes ['A']")
		},
		"another revision was expected": func(tx *policy.Tx) error { tx.IsolatePath("a"); return tx.Expect(7) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, policy.DiffusionConfig())
			before := s.Snapshot()
			require.Error(t, s.Update(t.Context(), policy.Root(), f))
			require.Equal(t, before, s.Snapshot())
		})
	}
	t.Run("the function panics", func(t *testing.T) {
		s := newStore(t, policy.DiffusionConfig())
		require.Panics(t, func() {
			_ = s.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { tx.IsolatePath("a"); panic("x") })
		})
		require.Zero(t, s.Version())
		require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("a")), "the store goes on")
	})
}

func TestTransactionsEndWithTheirFunction(t *testing.T) {
	s := newStore(t, policy.DiffusionConfig())
	var kept *policy.Tx
	change(t, s, func(tx *policy.Tx) { kept = tx; tx.IsolatePath("a") })
	before := s.Snapshot().Script()
	require.ErrorIs(t, kept.IsolatePath("b"), policy.Ended)
	require.ErrorIs(t, kept.Grant("R", "b", "READ_TOPIC"), policy.Ended)
	require.Equal(t, before, s.Snapshot().Script())
}

func TestRevisions(t *testing.T) {
	s := newStore(t, policy.DiffusionConfig())
	changed := s.Changed()
	require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("a")))
	require.Equal(t, uint64(1), s.Version(), "a change is one revision")
	<-changed
	changed = s.Changed()
	require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("a")))
	require.Equal(t, uint64(1), s.Version(), "what changes nothing is none")
	select {
	case <-changed:
		t.Fatal("nothing changed")
	default:
	}
	require.NoError(t, s.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
		require.NoError(t, tx.Expect(1))
		return tx.IsolatePath("b")
	}))
	require.ErrorIs(t, s.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.Expect(1) }), policy.Conflict)
}

func TestSnapshotsDoNotChange(t *testing.T) {
	s := newStore(t, policy.DiffusionConfig())
	change(t, s, func(tx *policy.Tx) { tx.SetPathPermissions("R", "a/b", "READ_TOPIC"); tx.AssignRoles("ann", "R") })
	before := s.Snapshot()
	script := before.Script()
	change(t, s, func(tx *policy.Tx) {
		tx.SetPathPermissions("R", "a/b")
		tx.SetPathPermissions("R", "a/b/c", "UPDATE_TOPIC")
		tx.IsolatePath("a/b")
		tx.AssignRoles("ann")
	})
	require.Equal(t, script, before.Script())
	require.Equal(t, []string{"READ_TOPIC"}, before.PathPermissions(before.Session("ann"), "a/b/c"))
	require.Empty(t, s.Snapshot().PathPermissions(s.Snapshot().Session("ann"), "a/b/c"))
}

// No decision that starts after a change returned is older than the change.
func TestDecisionsAreNeverOlderThanTheLastChange(t *testing.T) {
	s := newStore(t, policy.DiffusionConfig())
	a := s.Authorizer()
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 { // decisions that race with the changes
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_, _ = a.AuthorizeWrite(context.Background(), "ann", "a/b")
					_ = s.Snapshot().Script()
				}
			}
		})
	}
	for i := range 500 {
		may := i%2 == 0
		change(t, s, func(tx *policy.Tx) {
			switch i / 2 % 4 {
			case 0:
				tx.AssignRoles("ann", map[bool][]string{true: {"R"}}[may]...)
				tx.SetPathPermissions("R", "a", "UPDATE_TOPIC")
			case 1:
				tx.AssignRoles("ann", "R")
				tx.SetPathPermissions("R", "a", map[bool][]string{true: {"UPDATE_TOPIC"}}[may]...)
			case 2:
				tx.SetPathPermissions("R", "a", "UPDATE_TOPIC")
				if tx.DeisolatePath("a/b"); !may {
					tx.IsolatePath("a/b")
				}
			case 3:
				tx.DeisolatePath("a/b")
				tx.AssignRoles("ann", "OUTER")
				tx.SetRoleIncludes("OUTER", map[bool][]string{true: {"R"}}[may]...)
			}
		})
		got, err := a.AuthorizeWrite(t.Context(), "ann", "a/b")
		require.NoError(t, err)
		require.Equal(t, may, got, "change %d", i)
	}
	close(done)
	wg.Wait()
}

func TestConfigsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*policy.Config){
		"nothing":               func(c *policy.Config) { *c = policy.Config{} },
		"no rule":               func(c *policy.Config) { c.Inheritance = 0 },
		"an unknown rule":       func(c *policy.Config) { c.Inheritance = 3 },
		"another separator":     func(c *policy.Config) { c.Separator = ':' },
		"denials with defaults": func(c *policy.Config) { c.DenyRows = true },
		"delegation where only the nearest counts": func(c *policy.Config) { c.Delegation = true },
		"no self-grant where there is none":        func(c *policy.Config) { c.NoSelfGrant = true },
		"no permission to read":                    func(c *policy.Config) { c.Vocabulary.Read = "" },
		"a permission that is not there":           func(c *policy.Config) { c.Vocabulary.Write = "WRITE" },
		"a permission twice":                       func(c *policy.Config) { c.Vocabulary.Path = append(c.Vocabulary.Path, "read_topic") },
		"a name that is no word":                   func(c *policy.Config) { c.Vocabulary.Path = append(c.Vocabulary.Path, "a b") },
		"too many permissions":                     func(c *policy.Config) { c.Vocabulary.Path = make([]string, 65) },
		"a global permission to read":              func(c *policy.Config) { c.Vocabulary.Read = "VIEW_SERVER" },
	} {
		c := policy.DiffusionConfig()
		change(&c)
		_, err := policy.New(c)
		require.Error(t, err, name)
	}
}

func TestCommandsOfTheOtherRuleAreRefused(t *testing.T) {
	wamp := newStore(t, policy.WAMPConfig())
	for name, f := range map[string]func(*policy.Tx) error{
		"isolation": isolate("a"),
		"defaults":  func(tx *policy.Tx) error { return tx.SetDefaultPathPermissions("R", "call") },
		"denials":   func(tx *policy.Tx) error { return tx.SetPathDenials("R", "a", "call") },
		"slashes are no separator there, but dots at the end are wrong": func(tx *policy.Tx) error { return tx.Grant("R", "a.", "call") },
	} {
		require.Error(t, wamp.Update(t.Context(), policy.Root(), f), name)
	}
}

func TestStoresHaveABound(t *testing.T) {
	c := policy.DiffusionConfig()
	c.MaxSize = 3 // one role, and two of whatever it is
	for name, add := range map[string]func(tx *policy.Tx, name string) error{
		"assignments": func(tx *policy.Tx, name string) error { return tx.Grant("R", name, "READ_TOPIC") },
		"isolated paths": func(tx *policy.Tx, name string) error {
			tx.SetGlobalPermissions("R", "VIEW_SERVER")
			return tx.IsolatePath(name)
		},
		"roles of principals": func(tx *policy.Tx, name string) error { return tx.AssignRoles(name, "R") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, c)
			one := func(name string) error {
				return s.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { return add(tx, name) })
			}
			require.NoError(t, one("a"))
			require.NoError(t, one("b"))
			require.ErrorIs(t, one("c"), policy.Limit)
			require.NoError(t, one("b"), "what is there may be changed")
			change(t, s, func(tx *policy.Tx) {
				tx.RemovePathPermissions("R", "a")
				tx.DeisolatePath("a")
				tx.AssignRoles("a")
			})
			require.NoError(t, one("c"))
		})
	}
	s := newStore(t, c)
	include := func(tx *policy.Tx) error { return tx.SetRoleIncludes("A", "B", "C") }
	require.ErrorIs(t, s.Update(t.Context(), policy.Root(), include), policy.Limit, "three roles and two inclusions")
}

func TestStoresWithABackendComeBack(t *testing.T) {
	for name, newBackend := range map[string]func() policy.Backend{
		"memory": func() policy.Backend { return policy.NewMemoryBackend() },
		"files": func() policy.Backend {
			b, err := policy.NewFileBackend(filepath.Join(t.TempDir(), "policy"))
			require.NoError(t, err)
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend()
			s := open(t, b)
			change(t, s, func(tx *policy.Tx) {
				tx.SetPathPermissions("it's", `a/"b"\`, "READ_TOPIC")
				tx.SetRoleIncludes("R", "it's")
				tx.AssignRoles("ann", "R")
			})
			require.NoError(t, s.UpdateScript(t.Context(), policy.Root(), "set 'R' default path permissions [READ_TOPIC]\n# why\nisolate path 'z'"))
			same := func() {
				again := open(t, b)
				require.Equal(t, s.Snapshot().Script(), again.Snapshot().Script())
				require.Equal(t, s.Version(), again.Version())
			}
			same()
			require.NoError(t, s.Compact(t.Context()))
			same()
			require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("y")))
			same()
			require.NoError(t, s.Restore(t.Context(), policy.Root(), "isolate path 'only'"))
			require.Contains(t, s.Snapshot().Script(), "isolate path 'only'")
			require.NotContains(t, s.Snapshot().Script(), "it's")
			same()
		})
	}
}

func TestStoresOfOneBackendFollowEachOther(t *testing.T) {
	b := policy.NewMemoryBackend()
	one, other := open(t, b), open(t, b)
	require.NoError(t, one.Update(t.Context(), policy.Root(), isolate("a")))
	require.Zero(t, other.Version(), "until it is told to look")
	changed := other.Changed()
	require.NoError(t, other.Refresh(t.Context()))
	require.Equal(t, uint64(1), other.Version())
	<-changed

	require.NoError(t, one.Update(t.Context(), policy.Root(), isolate("b")))
	calls := 0
	require.NoError(t, other.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { calls++; return tx.IsolatePath("c") }))
	require.Equal(t, 2, calls, "a change is made anew on what another process left")
	require.Equal(t, uint64(3), other.Version())
	require.NoError(t, one.Refresh(t.Context()))
	require.Equal(t, one.Snapshot().Script(), other.Snapshot().Script())

	require.NoError(t, one.Update(t.Context(), policy.Root(), isolate("d")))
	require.ErrorIs(t, other.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
		if err := tx.Expect(3); err != nil {
			return err
		}
		return tx.IsolatePath("e")
	}), policy.Conflict, "unless it was meant for one revision only")

	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := []*policy.Store{one, other}[i%2].Update(context.Background(), policy.Root(), isolate(fmt.Sprint("p", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, one.Refresh(t.Context()))
	require.NoError(t, other.Refresh(t.Context()))
	require.Equal(t, uint64(24), one.Version())
	require.Equal(t, one.Snapshot().Script(), other.Snapshot().Script())
}

func TestDamagedFilesAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, dir string)
		want string
	}{
		{"a byte is another", func(t *testing.T, dir string) {
			edit(t, dir, 2, func(s string) string { return strings.Replace(s, "'b'", "'c'", 1) })
		}, "revision 2 in 00000000000000000002.change, line 4: the file is not as it was written"},
		{"a line is no command any more", func(t *testing.T, dir string) {
			edit(t, dir, 2, func(s string) string { return strings.Replace(s, "isolate", "isolat\x00", 1) })
		}, "revision 2 in 00000000000000000002.change, line 3: policy: syntax"},
		{"the end is cut off", func(t *testing.T, dir string) {
			edit(t, dir, 2, func(s string) string { return s[:len(s)-20] })
		}, "revision 2 in 00000000000000000002.change, line 4"},
		{"a file is empty", func(t *testing.T, dir string) {
			edit(t, dir, 1, func(string) string { return "" })
		}, "revision 1 in 00000000000000000001.change, line 1: the end is missing"},
		{"a file is missing", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "00000000000000000002.change")))
		}, "revision 2 in 00000000000000000002.change: file does not exist"},
		{"a file is another's", func(t *testing.T, dir string) {
			text, err := os.ReadFile(filepath.Join(dir, "00000000000000000001.change"))
			require.NoError(t, err)
			edit(t, dir, 2, func(string) string { return string(text) })
		}, "revision 2 in 00000000000000000002.change, line 1: this is another revision's file"},
		{"a name is no revision", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "x.change"), nil, 0o600))
		}, "in x.change: the name is no revision"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			b, err := policy.NewFileBackend(dir)
			require.NoError(t, err)
			s := open(t, b)
			for _, path := range []string{"a", "b", "c"} {
				require.NoError(t, s.Update(t.Context(), policy.Root(), isolate(path)))
			}
			other := open(t, b)
			tt.do(t, dir)
			_, err = policy.Open(t.Context(), policy.DiffusionConfig(), b)
			require.ErrorIs(t, err, policy.Damaged)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, s.Snapshot().Script(), other.Snapshot().Script(), "what was read before stays in force")
		})
	}
}

func edit(t *testing.T, dir string, revision int, f func(string) string) {
	name := filepath.Join(dir, fmt.Sprintf("%020d.change", revision))
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, []byte(f(string(text))), 0o600))
}

// A refresh that meets a damaged change leaves the last good revision in force, and what was decided by it.
func TestTheLastGoodRevisionStaysInForce(t *testing.T) {
	b := policy.NewMemoryBackend()
	s := open(t, b)
	change(t, s, func(tx *policy.Tx) { tx.SetPathPermissions("R", "a", "UPDATE_TOPIC"); tx.AssignRoles("ann", "R") })
	require.NoError(t, b.Append(t.Context(), policy.Change{Revision: 2, Script: "isolate path 'b'\nset 'R' permissions [FLY]"}))
	err := s.Refresh(t.Context())
	require.ErrorIs(t, err, policy.Damaged)
	require.ErrorIs(t, err, policy.UnknownPermission)
	require.Equal(t, uint64(1), s.Version())
	may, err := s.Authorizer().AuthorizeWrite(t.Context(), "ann", "a")
	require.NoError(t, err)
	require.True(t, may)
	require.ErrorIs(t, s.Update(t.Context(), policy.Root(), isolate("x")), policy.Damaged)
}

// away is a backend that fails when it is told to.
type away struct {
	policy.Backend
	before, after error
}

func (b *away) Append(ctx context.Context, c policy.Change) error {
	if b.before != nil {
		return b.before
	}
	if err := b.Backend.Append(ctx, c); err != nil {
		return err
	}
	return b.after
}

func TestChangesThatAreNotKeptAreNotInForce(t *testing.T) {
	down := errors.New("the backend is away")
	b := &away{Backend: policy.NewMemoryBackend(), before: down}
	s := open(t, b)
	require.ErrorIs(t, s.Update(t.Context(), policy.Root(), isolate("a")), down)
	require.Zero(t, s.Version())

	b.before, b.after = nil, down // it was kept, but nobody said so
	require.ErrorIs(t, s.Update(t.Context(), policy.Root(), isolate("a")), down)
	require.Zero(t, s.Version())
	b.after = nil
	require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("b")), "the next change finds out")
	require.Equal(t, uint64(2), s.Version())
	require.Equal(t, open(t, b).Snapshot().Script(), s.Snapshot().Script())
}

func TestWhoMayChangeTheStore(t *testing.T) {
	s := newStore(t, policy.DiffusionConfig())
	change(t, s, func(tx *policy.Tx) {
		tx.SetGlobalPermissions("ADMINISTRATOR", "MODIFY_SECURITY")
		tx.SetRoleIncludes("BOSS", "ADMINISTRATOR")
		tx.AssignRoles("boss", "BOSS")
		tx.SetPathPermissions("OTHER", "a", "MODIFY_TOPIC")
		tx.AssignRoles("other", "OTHER")
	})
	for _, tt := range []struct {
		name  string
		actor policy.Actor
		may   bool
	}{
		{"the program", policy.Root(), true},
		{"who holds the permission by an included role", policy.ActorNamed("boss"), true},
		{"for whom an authenticator vouches", policy.ActorOf(chansec.Principal{SystemID: "x", Roles: []string{"BOSS"}}), true},
		{"who holds a path permission", policy.ActorNamed("other"), false},
		{"who holds nothing", policy.ActorNamed("x"), false},
		{"nobody", policy.Actor{}, false},
		{"a name that is empty", policy.ActorNamed(""), false},
	} {
		called := false
		err := s.Update(t.Context(), tt.actor, func(*policy.Tx) error { called = true; return nil })
		require.Equal(t, tt.may, called, tt.name)
		if !tt.may {
			require.ErrorIs(t, err, chansec.ErrPermission, tt.name)
			require.ErrorContains(t, err, "MODIFY_SECURITY", tt.name)
		}
	}
	wamp := newStore(t, policy.WAMPConfig())
	require.ErrorIs(t, wamp.Update(t.Context(), policy.ActorNamed("x"), func(*policy.Tx) error { return nil }), chansec.ErrPermission,
		"where the vocabulary has no such permission, only the program may")
}

func TestWhoMayLookAtTheStore(t *testing.T) {
	s := newStore(t, policy.DiffusionConfig())
	change(t, s, func(tx *policy.Tx) {
		tx.SetGlobalPermissions("AUDITOR", "VIEW_SECURITY")
		tx.SetRoleIncludes("CHIEF", "AUDITOR")
		tx.SetGlobalPermissions("ADMINISTRATOR", "MODIFY_SECURITY")
		tx.AssignRoles("ann", "CHIEF")
		tx.AssignRoles("boss", "ADMINISTRATOR")
	})
	for _, tt := range []struct {
		name  string
		actor policy.Actor
		may   bool
	}{
		{"the program", policy.Root(), true},
		{"who holds the permission by an included role", policy.ActorNamed("ann"), true},
		{"for whom an authenticator vouches", policy.ActorOf(chansec.Principal{SystemID: "x", Roles: []string{"AUDITOR"}}), true},
		{"who may change the store, which is another permission", policy.ActorNamed("boss"), false},
		{"who holds nothing", policy.ActorNamed("x"), false},
		{"nobody", policy.Actor{}, false},
	} {
		view, err := s.View(tt.actor)
		if tt.may {
			require.NoError(t, err, tt.name)
			require.Equal(t, s.Snapshot(), view, tt.name)
			continue
		}
		require.Nil(t, view, tt.name)
		var access *policy.AccessError
		require.ErrorAs(t, err, &access, tt.name)
		require.Equal(t, &policy.AccessError{Actor: tt.actor.String(), Operation: "look at the policy", Needs: "VIEW_SECURITY"}, access, tt.name)
		require.ErrorIs(t, err, chansec.ErrPermission, tt.name)
	}
	_, err := newStore(t, policy.WAMPConfig()).View(policy.ActorNamed("x"))
	require.ErrorIs(t, err, chansec.ErrPermission, "where the vocabulary has no such permission, only the program may")
}

func TestTheLastAdministratorStays(t *testing.T) {
	fresh := func() *policy.Store {
		s := newStore(t, policy.DiffusionConfig())
		change(t, s, func(tx *policy.Tx) {
			tx.SetGlobalPermissions("ADMINISTRATOR", "MODIFY_SECURITY")
			tx.SetRoleIncludes("BOSS", "ADMINISTRATOR")
			tx.AssignRoles("ann", "BOSS")
			tx.AssignRoleUntil("guest", "ADMINISTRATOR", time.Now().Add(time.Hour))
		})
		return s
	}
	for name, f := range map[string]func(*policy.Tx) error{
		"she goes":                              func(tx *policy.Tx) error { return tx.AssignRoles("ann") },
		"her role includes nothing any more":    func(tx *policy.Tx) error { return tx.SetRoleIncludes("BOSS") },
		"the permission is taken from the role": func(tx *policy.Tx) error { return tx.SetGlobalPermissions("ADMINISTRATOR") },
		"she gets an end":                       func(tx *policy.Tx) error { return tx.AssignRoleUntil("ann", "BOSS", time.Now().Add(time.Hour)) },
		"everything is replaced by nothing":     func(tx *policy.Tx) error { return tx.RemovePrincipal("ann") },
	} {
		for _, actor := range []policy.Actor{policy.ActorNamed("ann"), policy.ActorNamed("guest"), policy.ActorOf(chansec.Principal{SystemID: "x", Roles: []string{"BOSS"}})} {
			s := fresh()
			require.ErrorIs(t, s.Update(t.Context(), actor, f), policy.LastAdministrator, "%s, says %s", name, actor)
			require.NoError(t, s.Update(t.Context(), policy.Root(), f), "the program may")
		}
	}
	s := fresh()
	require.NoError(t, s.Update(t.Context(), policy.ActorNamed("ann"), func(tx *policy.Tx) error {
		tx.AssignRoles("bob", "ADMINISTRATOR")
		return tx.AssignRoles("ann")
	}), "somebody else is one now")
	require.ErrorIs(t, s.Update(t.Context(), policy.ActorNamed("ann"), isolate("a")), chansec.ErrPermission)
}
