package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// differentialCases is how many operations the engine and the reference do, per rule. CHANSEC_POLICY_CASES sets it.
func differentialCases(t *testing.T) int {
	if s := os.Getenv("CHANSEC_POLICY_CASES"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	if testing.Short() {
		return 4_000
	}
	return 20_000
}

func TestEngineEqualsReference(t *testing.T) {
	denying := policy.WAMPConfig()
	denying.DenyRows = true
	for name, config := range map[string]policy.Config{"nearest": policy.DiffusionConfig(), "any ancestor": policy.WAMPConfig(), "deny rows": denying} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 2; seed++ {
				d := newDuel(t, config, seed)
				if seed == 2 {
					d.roles = 120
				}
				d.fight(differentialCases(t) / 2)
			}
		})
	}
}

// duel is a store and a reference that are told and asked the same.
type duel struct {
	*rand.Rand
	t       *testing.T
	config  policy.Config
	store   *policy.Store
	decider *policy.Authorizer
	naive   *reference
	roles   int // how many there are; many of them make crowded paths
	flipped int
	denials struct{ all, helpless int } // helpless are those for which no one command is missing
}

func newDuel(t *testing.T, c policy.Config, seed uint64) *duel {
	d := &duel{Rand: rand.New(rand.NewPCG(seed, 7)), t: t, config: c, store: newStore(t, c), naive: newReference(c), roles: 9}
	d.decider = d.store.Authorizer()
	return d
}

func (d *duel) fight(cases int) {
	for i := range cases {
		switch {
		case i%4000 == 3999: // begin anew, so that there are sparse stores, too
			d.store = newStore(d.t, d.config)
			d.decider, d.naive = d.store.Authorizer(), newReference(d.config)
		case d.IntN(8) == 0:
			d.change()
		case d.IntN(50) == 0:
			d.reload()
		case d.IntN(50) == 0:
			d.preview()
		default:
			d.decide()
		}
		if (i+1)%250_000 == 0 {
			d.t.Logf("%d operations without a difference", i+1)
		}
	}
	require.Positive(d.t, d.flipped)
	d.t.Logf("%d operations, %d denials, %d of them without one command that would help, %d of the commands tried out", cases, d.denials.all, d.denials.helpless, d.flipped)
}

func (d *duel) pick(list ...string) string { return list[d.IntN(len(list))] }

func (d *duel) roleName() string { return fmt.Sprint("R", d.IntN(d.roles)) }

func (d *duel) roleNames() []string {
	names := []string{}
	for range d.IntN(4) {
		names = append(names, d.roleName())
	}
	return names
}

func (d *duel) principal() string { return d.pick("alice", "bob", "carol") }

func (d *duel) permissions() (list []string) {
	for range d.IntN(4) {
		list = append(list, d.pick(d.config.Vocabulary.Path[:5]...))
	}
	return list
}

// path is one that can carry an assignment.
func (d *duel) path() string {
	var segments []string
	depth := 1 + d.IntN(4)
	if d.roles > 9 {
		depth = 1 + d.IntN(2)
	}
	for range depth {
		segments = append(segments, d.pick("a", "b", "ab", "a", "b", "a segment of 15", "a segment of 16b"))
	}
	return strings.Join(segments, string(rune(d.config.Separator)))
}

// asked is any path that somebody may ask about.
func (d *duel) asked() string {
	p := d.path()
	for d.IntN(5) == 0 {
		sep := string(rune(d.config.Separator))
		p = d.pick(p+sep, sep+p, strings.Replace(p, sep, sep+sep, 1), "", sep, strings.ToUpper(p))
	}
	return p
}

// change does a transaction of a few commands, some of which fail.
func (d *duel) change() {
	next := d.naive.clone()
	var refused error // what the transaction must end with
	version := d.store.Version()
	err := d.store.Update(context.Background(), policy.Root(), func(tx *policy.Tx) error {
		for range 1 + d.IntN(3) {
			if err := d.command(tx, next); err != nil {
				refused = err
				return nil // the failure counts, whatever is returned
			}
		}
		if d.IntN(10) == 0 {
			refused = errors.New("changed my mind")
		}
		return refused
	})
	if refused != nil {
		require.ErrorIs(d.t, err, refused)
		require.Equal(d.t, version, d.store.Version())
		return
	}
	require.NoError(d.t, err)
	d.naive = next
}

// command does one command on both, and returns the kind of the error that it must fail with.
func (d *duel) command(tx *policy.Tx, next *reference) error {
	name := d.roleName()
	role := next.role(name)
	nearest := d.config.Inheritance == policy.NearestAssignment
	switch c := d.IntN(11); {
	case c < 4:
		path, list := d.path(), d.permissions()
		require.NoError(d.t, tx.SetPathPermissions(name, path, list...))
		if role.paths[path] = list; !nearest && len(list) == 0 {
			delete(role.paths, path)
		}
	case c == 4:
		path := d.path()
		require.NoError(d.t, tx.RemovePathPermissions(name, path))
		delete(role.paths, path)
		delete(role.denials, path)
	case c == 5:
		includes := d.roleNames()
		err := tx.SetRoleIncludes(name, includes...)
		for _, i := range includes {
			if next.effective([]string{i})[name] {
				require.ErrorIs(d.t, err, policy.Cycle)
				return policy.Cycle
			}
		}
		require.NoError(d.t, err)
		role.includes = includes
	case c == 6:
		who, list := d.principal(), d.roleNames()
		require.NoError(d.t, tx.AssignRoles(who, list...))
		next.principals[who] = list
	case c == 7 && d.IntN(3) == 0:
		next.named, next.anonymous = d.roleNames(), d.roleNames()
		require.NoError(d.t, tx.SetRolesForNamedSessions(next.named...))
		require.NoError(d.t, tx.SetRolesForAnonymousSessions(next.anonymous...))
	case c == 8 && len(d.config.Vocabulary.Global) > 0:
		role.globals = []string{d.pick(d.config.Vocabulary.Global[:5]...)}
		require.NoError(d.t, tx.SetGlobalPermissions(name, role.globals...))
	case c == 9 && nearest:
		role.defaults = d.permissions()
		require.NoError(d.t, tx.SetDefaultPathPermissions(name, role.defaults...))
	case c == 9 && d.config.DenyRows:
		path, list := d.path(), d.permissions()
		require.NoError(d.t, tx.SetPathDenials(name, path, list...))
		role.denials[path] = list
	case c == 10 && nearest:
		path := d.path()
		if next.isolated[path] = d.IntN(2) == 0; next.isolated[path] {
			require.NoError(d.t, tx.IsolatePath(path))
		} else {
			require.NoError(d.t, tx.DeisolatePath(path))
		}
	}
	return nil
}

// reload puts the store's script into a new store, which must be equal.
func (d *duel) reload() {
	script := d.store.Snapshot().Script()
	d.store = newStore(d.t, d.config)
	d.decider = d.store.Authorizer()
	require.NoError(d.t, d.store.Restore(context.Background(), policy.Root(), script))
	require.Equal(d.t, script, d.store.Snapshot().Script())
}

// preview looks at a change without making it, and holds the result against the reference on every path there is.
func (d *duel) preview() {
	next := d.naive.clone()
	p, err := d.store.Preview(context.Background(), policy.Root(), func(tx *policy.Tx) error { return d.command(tx, next) })
	if err != nil {
		return
	}
	said := map[string]map[string][2][]string{} // by principal and path
	for _, x := range p.Paths {
		name := x.Principal
		if x.Whom == policy.OtherPrincipals {
			name = "nobody"
		}
		if said[name] == nil {
			said[name] = map[string][2][]string{}
		}
		said[name][x.Path] = [2][]string{x.Gained, x.Lost}
	}
	for _, who := range []string{"alice", "bob", "carol", "nobody", ""} {
		entries := said[who]
		if len(d.naive.principals[who])+len(next.principals[who]) == 0 && who != "" {
			entries = said["nobody"]
		}
		for range 20 {
			path := d.path()
			before := d.naive.permissions(d.naive.held(who, nil), path)
			after := next.permissions(next.held(who, nil), path)
			gained, lost := without(after, before), without(before, after)
			said := nearestEntry(entries, path, string(rune(d.config.Separator)))
			require.ElementsMatch(d.t, gained, said[0], "%q gains on %q", who, path)
			require.ElementsMatch(d.t, lost, said[1], "%q loses on %q", who, path)
		}
	}
}

func without(list, less []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return slices.Contains(less, x) })
}

// nearestEntry returns the entry that holds for a path: its own, or the nearest above.
func nearestEntry(entries map[string][2][]string, path, sep string) [2][]string {
	for {
		if x, ok := entries[path]; ok || path == "" {
			return x
		}
		path = path[:max(strings.LastIndex(path, sep), 0)]
	}
}

// decide asks both, in every way there is to ask.
func (d *duel) decide() {
	who, vouched, path := d.pick("alice", "bob", "carol", "nobody", ""), d.roleNames(), d.asked()
	held := d.naive.held(who, vouched)
	want := d.naive.permissions(held, path)
	s := d.store.Snapshot()
	session := s.Session(who, vouched...)
	require.ElementsMatch(d.t, want, s.PathPermissions(session, path), "%q has on %q", who, path)
	require.ElementsMatch(d.t, d.naive.globals(held), s.GlobalPermissions(session))

	permission := d.pick(d.config.Vocabulary.Path[:5]...)
	x, err := s.Explain(session, path, permission)
	require.NoError(d.t, err)
	require.Equal(d.t, slices.Contains(want, permission), x.Allowed, "an explanation equals the decision")

	op := []chansec.Operation{chansec.OpRead, chansec.OpSubscribe, chansec.OpWrite, chansec.OpRemove}[d.IntN(4)]
	p := chansec.Principal{SystemID: who, Roles: vouched}
	decision, err := d.decider.Decide(context.Background(), chansec.Request{Principal: p, ChannelID: path, Operation: op})
	require.NoError(d.t, err)
	needs := d.needs(op)
	allowed := !slices.ContainsFunc(needs, func(n string) bool { return !slices.Contains(want, n) })
	require.Equal(d.t, allowed, decision.Allowed, "%q may %s %q", who, op, path)
	x, err = d.decider.Explain(p, op, path)
	require.NoError(d.t, err)
	require.Equal(d.t, allowed, x.Allowed)
	switch {
	case allowed:
		require.Empty(d.t, x.Missing)
		return
	case x.Missing != "":
		d.flip(p, op, path, x.Missing)
	default:
		d.denials.helpless++
		nobodys := d.config.Separator == policy.Dot && (path == "" || path[0] == '.')
		require.True(d.t, nobodys || len(held) == 0 || d.config.DenyRows, "%q has roles, so that more for one of them would help on %q", who, path)
	}
	d.denials.all++
}

// flip looks at the store as it would be with what is missing; the decision must become a yes.
func (d *duel) flip(p chansec.Principal, op chansec.Operation, path, missing string) {
	if d.IntN(10) > 0 {
		return
	}
	preview, err := d.store.Preview(context.Background(), policy.Root(), func(tx *policy.Tx) error { return tx.Run(missing) })
	require.NoError(d.t, err)
	after := preview.After
	require.Subset(d.t, after.PathPermissions(after.Session(p.SystemID, p.Roles...), path), d.needs(op), missing)
	d.flipped++
}

func (d *duel) needs(op chansec.Operation) []string {
	v := d.config.Vocabulary
	switch op {
	case chansec.OpRead:
		return []string{v.Read}
	case chansec.OpSubscribe:
		if v.Subscribe != "" {
			return []string{v.Read, v.Subscribe}
		}
		return []string{v.Read}
	case chansec.OpWrite:
		return []string{v.Write}
	}
	return []string{v.Admin}
}
