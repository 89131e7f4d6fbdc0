package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// sameAsTables checks that the tables say what the policy does.
func sameAsTables(t testing.TB, s *Store) {
	t.Helper()
	require.NoError(t, s.read(context.Background(), func(q *sql.Tx) error {
		got, err := projected(context.Background(), q)
		require.NoError(t, err)
		_, all := s.Policy().Snapshot().Since(nil)
		require.Len(t, got, len(all))
		for _, f := range all {
			require.True(t, got[f], "%+v", f)
		}
		at, err := tables(context.Background(), q)
		require.NoError(t, err)
		require.Equal(t, s.Policy().Version(), at)
		return nil
	}))
}

// hostile are names that a policy takes and a database might not.
var hostile = []string{"x'; drop table role; --", `"quoted" \ ''`, "$1 ? :a @b", "𝒜 😀 4 bytes", "İıſK folded", "a\u0301 and \u00e1", "%_*", "null", strings.Repeat("é", 256)}

func TestTheTablesSayWhatThePolicyDoes(t *testing.T) {
	delegated := policy.WAMPConfig()
	delegated.Delegation, delegated.DenyRows = true, true
	for name, c := range map[string]policy.Config{"nearest assignment": policy.DiffusionConfig(), "any ancestor": delegated} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				r := rand.New(rand.NewPCG(7, 8))
				s := x.open(t, Options{Policy: c})
				for round := range 60 {
					_ = s.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
						for range 1 + r.IntN(5) {
							if err := randomCommand(r, tx, c); err != nil {
								return err
							}
						}
						return nil
					})
					if round%10 == 0 {
						sameAsTables(t, s)
					}
				}
				sameAsTables(t, s)
				require.Greater(t, s.Policy().Version(), uint64(30))

				// What somebody else made of them is mended when the store is opened, and descriptions stay.
				_, err := s.db.Exec("update role set description = 'kept'")
				require.NoError(t, err)
				for _, text := range []string{"delete from userrole", "update topic set isolated = true", "delete from topicrole",
					"insert into topic (name, listed, isolated, modified_by, modified_at) values ('z', true, false, '', '')",
					"update head set revision = 0 where family = 'tables'"} {
					_, err := s.db.Exec(text)
					require.NoError(t, err)
				}
				sameAsTables(t, x.open(t, Options{Policy: c}))
				var kept, all int
				require.NoError(t, s.db.QueryRow("select count(*), sum(case when description = 'kept' then 1 else 0 end) from role").Scan(&all, &kept))
				require.Equal(t, all, kept)
			})
		})
	}
}

// randomCommand does any command, some of which this kind of policy refuses.
func randomCommand(r *rand.Rand, tx *policy.Tx, c policy.Config) error {
	delegated := c.Delegation
	name := func() string {
		if !delegated && r.IntN(3) == 0 {
			return hostile[r.IntN(len(hostile))]
		}
		return fmt.Sprint("n", r.IntN(6))
	}
	path := func() string {
		p := "p" + fmt.Sprint(r.IntN(4))
		if !delegated && r.IntN(3) == 0 {
			p = "p/" + hostile[r.IntN(len(hostile)-1)]
		}
		for range r.IntN(3) {
			p += string(rune(c.Separator)) + fmt.Sprint("q", r.IntN(4))
		}
		return p
	}
	permission := func() []string { return c.Vocabulary.Path[:r.IntN(4)] }
	switch r.IntN(15) {
	case 0, 1, 2, 3:
		return tx.SetPathPermissions(name(), path(), permission()...)
	case 4:
		return tx.RemovePathPermissions(name(), path())
	case 5:
		if delegated {
			return tx.SetPathDenials(name(), path(), permission()...)
		}
		return tx.SetGlobalPermissions(name(), c.Vocabulary.Global[:r.IntN(3)]...)
	case 6:
		if delegated {
			return tx.SetRoleBinding(name(), []string{"", "role", "a"}[r.IntN(3)])
		}
		return tx.SetDefaultPathPermissions(name(), permission()...)
	case 7:
		return tx.SetRoleIncludes(fmt.Sprint("n", r.IntN(3)), fmt.Sprint("n", 3+r.IntN(3)))
	case 8:
		return tx.SetRoleLockedByPrincipal(name(), []string{"", "ann"}[r.IntN(2)])
	case 9:
		if delegated {
			_ = r
			return nil
		}
		if r.IntN(2) == 0 {
			return tx.DeisolatePath(path())
		}
		return tx.IsolatePath(path())
	case 10:
		return tx.SetRolesForAnonymousSessions(name())
	case 11:
		return tx.SetRolesForNamedSessions(name(), name())
	case 12:
		return tx.AssignRoles(hostile[r.IntN(len(hostile))], name(), name())
	case 13:
		return tx.AssignRoleUntil(name(), name(), time.Unix(int64(4e9+r.IntN(9)), 5))
	}
	if delegated && r.IntN(2) == 0 {
		return tx.RemoveRole(name())
	}
	return tx.AssignRoles(name())
}

// Who changed what, and when, is in each row.
func TestTheTablesSayWhoAndWhen(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, Options{})
		require.NoError(t, s.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
			_ = tx.AddTopic("com")
			_ = tx.AddRole("ops", "")
			return tx.AssignRoles("ann", "ops")
		}))
		began := time.Now()
		require.NoError(t, s.Policy().Update(t.Context(), policy.ActorNamed("ann"), func(tx *policy.Tx) error { return tx.AssignNewRole("ben", "ops") }))
		row := func(query string) (by string, at time.Time) {
			var text string
			require.NoError(t, s.db.QueryRow(query).Scan(&by, &text))
			at, err := parseStamp(text)
			require.NoError(t, err)
			return by, at
		}
		by, at := row("select modified_by, modified_at from userrole where login = 'ben'")
		require.Equal(t, "ann", by)
		require.WithinRange(t, at, began, time.Now())
		by, at = row("select modified_by, modified_at from userrole where login = 'ann'")
		require.Empty(t, by)
		require.True(t, at.Before(began))
		by, _ = row("select actor, at from policy_change where revision = 2")
		require.Equal(t, "ann", by)
	})
}

// What PostgreSQL has no text for is refused by both, before anything is written.
func TestNamesThatADatabaseCannotHoldAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, Options{})
		require.NoError(t, s.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
			_ = tx.Grant("r", "com", "admin")
			_ = tx.AddRole("ops", "")
			_ = tx.Grant("r", "role", "admin")
			return tx.SetRolesForNamedSessions("r")
		}))
		for _, name := range []string{"a\x00b", "\x00", "\xff", "a\xc3"} {
			err := s.Policy().Update(t.Context(), policy.ActorNamed(name), func(tx *policy.Tx) error { return tx.AddTopic("com.x") })
			require.ErrorIs(t, err, InvalidText)
			err = s.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.AssignRoles(name, "r") })
			require.ErrorIs(t, err, policy.InvalidArgument)
		}
		for _, name := range hostile[:4] {
			require.NoError(t, s.Policy().Update(t.Context(), policy.ActorNamed(name), func(tx *policy.Tx) error {
				return tx.AssignNewRole(name, "ops")
			}))
		}
		sameAsTables(t, s)
		require.Equal(t, uint64(5), s.Policy().Version())
	})
}

func TestTextsThatADatabaseCannotHoldAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.node(t, "here")
		addUsers(t, s, "kim")
		require.NoError(t, connect(t.Context(), s, "kim", 7))
		before := x.everything(t, s.db)
		ctx, name := t.Context(), "kim"
		for _, bad := range []string{"a\x00b", "\xff"} {
			by := policy.ActorNamed(bad)
			opens := func(r session.Record) error { return s.Sessions().Open(ctx, r) }
			ends := func(e session.EndedError) error { return s.Sessions().Close(ctx, []session.EndedError{e}) }
			for what, err := range map[string]error{
				"who changes a user":      s.Users().Update(ctx, by, "kim", UserChange{FullName: &name}),
				"who deletes a user":      s.Users().Delete(ctx, by, "kim"),
				"the ID of a session":     opens(session.Record{ID: bad, Principal: "kim"}),
				"who has a session":       opens(session.Record{ID: "8", Principal: bad}),
				"its transport":           opens(session.Record{ID: "8", Principal: "kim", Transport: bad}),
				"its address":             opens(session.Record{ID: "8", Principal: "kim", RemoteAddr: bad}),
				"who has it from now on":  s.Sessions().Change(ctx, session.Record{ID: "7", Principal: bad}),
				"the session of an end":   ends(session.EndedError{Session: bad}),
				"who ended it":            ends(session.EndedError{Session: "7", By: bad}),
				"why":                     ends(session.EndedError{Session: "7", Reason: bad}),
				"a token that is revoked": s.Revocations().Append(ctx, chansec.Revocation{TokenID: bad}),
				"a subject that is":       s.Revocations().Append(ctx, chansec.Revocation{Subject: bad}),
			} {
				require.ErrorIs(t, err, InvalidText, what)
			}
			_, err := s.Users().Add(ctx, by, NewUser{Login: "lee", Secret: "s"})
			require.ErrorIs(t, err, InvalidText)
			_, err = s.Sessions().Kill(ctx, by, SessionRef{ID: "7"}, "")
			require.ErrorIs(t, err, InvalidText)
		}
		require.Equal(t, before, x.everything(t, s.db))
	})
}

// Whoever changes the policy, and by way of whichever store, is told of with the row.
func TestChangesOfTheTablesAreToldOf(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		one := x.open(t, Options{})
		require.NoError(t, one.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
			_ = tx.AddRole("ops", "")
			return tx.AssignRoles("ann", "ops")
		}))
		told := make(chan TableChange, 100)
		x.open(t, Options{Changed: func(c TableChange) { told <- c }})
		next := func(table, operation, by string) policy.Fact {
			t.Helper()
			c := <-told
			require.Equal(t, []string{table, operation, by}, []string{c.Table, c.Operation, c.By}, "%+v", c)
			return c.Row
		}
		require.NoError(t, one.Policy().Update(t.Context(), policy.ActorNamed("ann"), func(tx *policy.Tx) error { return tx.AssignNewRole("ben", "ops") }))
		require.Equal(t, "ben", next("userrole", "insert", "ann").Principal)
		require.NoError(t, one.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.SetRoleBinding("ops", "other") }))
		next("topic", "insert", "")
		require.Equal(t, "role.other.ops", next("role", "update", "").Path)
		require.NoError(t, one.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.RemoveRole("ops") }))
		var tables []string
		for range 5 { // the topic that bound it first stays
			c := <-told
			require.Equal(t, "delete", c.Operation)
			tables = append(tables, c.Table)
		}
		require.Equal(t, []string{"userrole", "userrole", "topicrole", "role", "topic"}, tables, "what refers to others first")
		require.Empty(t, told)
	})
}

func TestALogThatBecomesLongIsCompacted(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s, never := x.open(t, Options{CompactAfter: 10}), x.open(t, Options{CompactAfter: -1})
		count := func() (n int) {
			require.NoError(t, s.db.QueryRow("select count(*) from policy_change").Scan(&n))
			return n
		}
		for i := range 35 {
			grant(t, never, "r", fmt.Sprint("p", i))
		}
		require.NoError(t, s.AtLeast(t.Context(), 35))
		within(t, 5*time.Second, "few are left", func() bool { return count() <= 11 })
		last := x.open(t, Options{})
		require.Equal(t, never.Policy().Snapshot().Script(), last.Policy().Snapshot().Script())
		sameAsTables(t, last)
	})
}
