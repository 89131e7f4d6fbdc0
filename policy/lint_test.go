package policy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

func ExampleSnapshot_Lint() {
	store, _ := policy.New(policy.DiffusionConfig())
	_ = store.Update(context.Background(), policy.Root(), func(tx *policy.Tx) error {
		return tx.Run(`
			set 'READER' path 'desk' permissions [READ_TOPIC SELECT_TOPIC]
			set 'READER' path 'desk/fx' permissions [READ_TOPIC SELECT_TOPIC]
			set 'MUTED' path 'desk/notes' permissions []
			set 'AUDITOR' path 'audit' permissions [READ_TOPIC]
			assign roles 'tom' ['READER' 'MUTED']
		`)
	})
	for _, f := range store.Snapshot().Lint() {
		fmt.Println(f)
	}
	// Output:
	// hiding role: "MUTED" takes READ_TOPIC, SELECT_TOPIC on "desk/notes" away from "tom", to whom "READER" gives it higher up: the nearer assignment hides it; to end it: set 'READER' path 'desk/notes' permissions [READ_TOPIC SELECT_TOPIC]
	// unheld: nobody holds "AUDITOR", which gives something by one assignment
	// redundant: whoever holds "READER" has the same on "desk/fx" without its assignment there; to end it: remove 'READER' permissions for path 'desk/fx'
}

// finding is a finding without its words.
type finding struct {
	kind        policy.FindingKind
	role, path  string
	permissions string
	fix         string
}

func findings(s *policy.Store, also ...policy.Session) (list []finding) {
	for _, f := range s.Snapshot().Lint(also...) {
		list = append(list, finding{f.Kind, f.Role, f.Path, strings.Join(f.Permissions, " "), f.Fix})
	}
	return list
}

func TestLint(t *testing.T) {
	denying, variable := policy.WAMPConfig(), policy.PlainConfig()
	denying.DenyRows, variable.Variables = true, true
	plain, wamp := policy.PlainConfig(), policy.WAMPConfig()
	for _, tt := range []struct {
		name   string
		config policy.Config
		script string
		want   []finding
	}{
		{"nothing is wrong with nothing", plain, "", nil},
		{"nothing is wrong with this", plain, `
			set 'R' path 'a' permissions [read]
			set 'R' path 'a/b' permissions [read write]
			set 'R' path 'a/b/c' permissions []
			isolate path 'a/d'
			set 'R' path 'a/d/e' permissions [read]
			assign roles 'ann' ['R']`, nil},

		{"everybody with a name may write", plain, "set 'R' path 'a/b' permissions [read write]\nset roles for named sessions ['R']",
			[]finding{{policy.OverBroad, "R", "a/b", "write", ""}}},
		{"everybody without a name may, by inclusion", plain, "set 'R' path 'a/b' permissions [admin]\nset 'S' includes ['R']\nset roles for anonymous sessions ['S']",
			[]finding{{policy.OverBroad, "R", "a/b", "admin", ""}}},
		{"everybody may read, on a path", plain, "set 'R' path 'a' permissions [read]\nset roles for anonymous sessions ['R']", nil},
		{"everybody may read, by default", plain, "set 'R' default path permissions [read]\nset roles for anonymous sessions ['R']",
			[]finding{{policy.OverBroad, "R", "", "read", ""}}},
		{"everybody may change the store", plain, "set 'R' permissions [modify view]\nset roles for anonymous sessions ['R']",
			[]finding{{policy.OverBroad, "R", "", "modify", ""}}},
		{"somebody has admin at the top", plain, "set 'R' path 'a' permissions [admin]\nset 'R' path 'a/b' permissions [read]\nassign roles 'ann' ['R']",
			[]finding{{policy.OverBroad, "R", "a", "admin", ""}}},
		{"or by default", plain, "set 'R' default path permissions [admin]\nassign roles 'ann' ['R']", []finding{{policy.OverBroad, "R", "", "admin", ""}}},
		{"but not below", plain, "set 'R' path 'a/b' permissions [admin]\nassign roles 'ann' ['R']", nil},
		{"everybody may write what is their own", variable, "set 'R' path 'inbox/$principal' permissions [write]\nset roles for named sessions ['R']", nil},

		{"allowed and denied", denying, "set 'R' path 'a' permissions [call publish]\nset 'R' path 'a' denials [call]\nassign roles 'ann' ['R']",
			[]finding{{policy.Contradictory, "R", "a", "call", "set 'R' path 'a' permissions [publish]"}}},

		{"one role hides another", plain, "set 'R' path 'a' permissions [read write]\nset 'S' path 'a/b' permissions [read]\nassign roles 'ann' ['R' 'S']\nassign roles 'bob' ['R' 'S']",
			[]finding{{policy.HidingRole, "S", "a/b", "write", "set 'R' path 'a/b' permissions [read write]"}}},
		{"also one that is included, and defaults", plain, "set 'R' default path permissions [read]\nset 'R' includes ['S']\nset 'S' path 'a' permissions []\nassign roles 'ann' ['R']",
			[]finding{{policy.HidingRole, "S", "a", "read", "set 'R' path 'a' permissions [read]"}}},
		{"also one that all have", plain, "set 'R' path 'a' permissions [read]\nset 'S' path 'a/b' permissions []\nset roles for named sessions ['S']\nassign roles 'ann' ['R']",
			[]finding{{policy.HidingRole, "S", "a/b", "read", "set 'R' path 'a/b' permissions [read]"}}},
		{"but not one that nobody holds together with it", plain, "set 'R' path 'a' permissions [read]\nset 'S' path 'a' permissions [write]\nset 'S' path 'a/b' permissions []\nassign roles 'ann' ['R']\nassign roles 'bob' ['S']", nil},
		{"nor what a role has higher up itself", plain, "set 'R' path 'a' permissions [read]\nset 'R' path 'a/b' permissions []\nassign roles 'ann' ['R']", nil},
		{"what two give higher up takes more than one command", plain,
			"set 'R' path 'a' permissions [read]\nset 'Q' path 'a' permissions [write]\nset 'S' path 'a/b' permissions []\nassign roles 'ann' ['R' 'S' 'Q']",
			[]finding{{policy.HidingRole, "S", "a/b", "read write", ""}}},

		{"a path that is sealed", plain, "set 'R' path 'a' permissions [read]\nisolate path 'a/b'\nassign roles 'ann' ['R']",
			[]finding{{policy.Sealed, "", "a/b", "", ""}}},
		{"and one for somebody who does not exist", plain, "set 'R' path 'a' permissions [read]\nisolate path 'a/b'\nset 'S' path 'a/b/c' permissions [read]\nassign roles 'ann' ['R']",
			[]finding{{policy.Sealed, "", "a/b", "", ""}, {policy.Unheld, "S", "", "", ""}}},
		{"isolation from nothing", plain, "set 'R' path 'a/b' permissions [read]\nisolate path 'a'\nassign roles 'ann' ['R']",
			[]finding{{policy.IdleIsolation, "", "a", "", "deisolate path 'a'"}}},
		{"isolation in isolation", plain, "set 'R' default path permissions [read]\nset 'R' path 'a/b/c' permissions [write]\nisolate path 'a'\nisolate path 'a/b'\nassign roles 'ann' ['R']",
			[]finding{{policy.IdleIsolation, "", "a/b", "", "deisolate path 'a/b'"}}},
		{"isolation where those who have something above have something else", plain,
			"set 'R' path 'a' permissions [read]\nset 'R' path 'a/b' permissions [write]\nisolate path 'a/b'\nassign roles 'ann' ['R']",
			[]finding{{policy.IdleIsolation, "", "a/b", "", "deisolate path 'a/b'"}}},

		{"a role that nobody holds", plain, "set 'R' permissions [view]", []finding{{policy.Unheld, "R", "", "", ""}}},
		{"nor ever will", plain, "set 'R' permissions [view]\nassign role 'ann' 'R' until '1990-01-01T00:00:00Z'", []finding{{policy.Unheld, "R", "", "", ""}}},
		{"until it is held", plain, "set 'R' permissions [view]\nassign role 'ann' 'R' until '2190-01-01T00:00:00Z'", nil},

		{"a variable for names that are none", variable, "set 'R' path 'inbox/$principal' permissions [read]\nassign roles 'ann/smith' ['R']\nset roles for anonymous sessions ['R']",
			[]finding{{policy.Unreachable, "R", "inbox/$principal", "read", "remove 'R' permissions for path 'inbox/$principal'"}}},
		{"and for one that is", variable, "set 'R' path 'inbox/$principal' permissions [read]\nassign roles 'ann/smith' ['R']\nassign roles 'ben' ['R']", nil},
		{"names beside variables are left alone", variable, `
			set 'R' path 'inbox/$principal' permissions [read]
			set 'R' path 'inbox/ann' permissions [read]
			set 'R' path 'inbox/ann/x' permissions [read]
			isolate path 'inbox/ben'
			assign roles 'ann' ['R']`, nil},
		{"others are not", variable, "set 'R' path 'inbox/$principal' permissions [read]\nset 'R' path 'inbox/$principal/x' permissions [read]\nassign roles 'ann' ['R']",
			[]finding{{policy.Redundant, "R", "inbox/$principal/x", "read", "remove 'R' permissions for path 'inbox/$principal/x'"}}},

		{"a grant below another", wamp, "set 'R' path 'a' permissions [call]\nset 'R' path 'a.b' permissions [call publish]\nassign roles 'ann' ['R']",
			[]finding{{policy.Shadowed, "R", "a.b", "call", "set 'R' path 'a.b' permissions [publish]"}}},
		{"a grant below that of another role, but not for all", wamp,
			"set 'R' path 'a' permissions [call]\nset 'S' path 'a.b' permissions [call]\nassign roles 'ann' ['R' 'S']\nassign roles 'ben' ['S']", nil},
		{"a denial below a grant", denying, "set 'R' path 'a' permissions [call]\nset 'R' path 'a.b' denials [call]\nassign roles 'ann' ['R']",
			[]finding{{policy.Shadowed, "R", "a.b", "call", "set 'R' path 'a.b' denials []"}}},
		{"a grant where another role is denied it", denying, "set 'R' path 'a' permissions [call]\nset 'S' path 'a' denials [call]\nassign roles 'ann' ['R' 'S']",
			[]finding{{policy.Shadowed, "R", "a", "call", "set 'R' path 'a' permissions []"}}},

		{"what is so above", plain, "set 'R' path 'a' permissions [read]\nset 'R' path 'a/b' permissions [read]\nassign roles 'ann' ['R']",
			[]finding{{policy.Redundant, "R", "a/b", "read", "remove 'R' permissions for path 'a/b'"}}},
		{"but isolated", plain, "set 'R' path 'a' permissions [read]\nset 'R' path 'a/b' permissions [read]\nisolate path 'a/b'\nassign roles 'ann' ['R']",
			[]finding{{policy.IdleIsolation, "", "a/b", "", "deisolate path 'a/b'"}}},
		{"what another role has at the same path", wamp, "set 'R' path 'a' permissions [call]\nset 'S' path 'a' permissions [call]\nset 'S' includes ['R']\nassign roles 'ann' ['S']",
			[]finding{{policy.Redundant, "R", "a", "call", "set 'R' path 'a' permissions []"}, {policy.Redundant, "S", "a", "call", "set 'S' path 'a' permissions []"}}},
		{"defaults twice", plain, "set 'R' default path permissions [read]\nset 'S' default path permissions [read write]\nset 'S' includes ['R']\nassign roles 'ann' ['S']",
			[]finding{{policy.Redundant, "R", "", "read", "set 'R' default path permissions []"}}},
		{"a denial of nothing", denying, "set 'R' path 'a' denials [call]\nassign roles 'ann' ['R']",
			[]finding{{policy.Redundant, "R", "a", "call", "set 'R' path 'a' denials []"}}},

		{"a name that is nothing", plain, "set roles for named sessions ['X']", []finding{{policy.EmptyRole, "X", "", "", "set roles for named sessions []"}}},
		{"one that somebody holds", plain, "set 'R' path 'a' permissions [read]\nassign roles 'ann' ['R' 'X']", []finding{{policy.EmptyRole, "X", "", "", "assign roles 'ann' ['R']"}}},
		{"one that is included", plain, "set 'R' includes ['X']\nset 'R' path 'a' permissions [read]\nassign roles 'ann' ['R']",
			[]finding{{policy.EmptyRole, "X", "", "", "set 'R' includes []"}}},
		{"one that is named in many places", plain, "set roles for named sessions ['X']\nset roles for anonymous sessions ['X']", []finding{{policy.EmptyRole, "X", "", "", ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, tt.config)
			require.NoError(t, s.Restore(t.Context(), policy.Root(), tt.script))
			require.Equal(t, tt.want, findings(s))
			require.Equal(t, s.Snapshot().Lint(), s.Snapshot().Lint())
		})
	}
}

func TestLintLooksAtSessionsThatAreGiven(t *testing.T) {
	s := newStore(t, policy.PlainConfig())
	require.NoError(t, s.Restore(t.Context(), policy.Root(), "set 'R' path 'a' permissions [read]\nset 'S' path 'a/b' permissions []"))
	require.Equal(t, []finding{{policy.Unheld, "R", "", "", ""}, {policy.Unheld, "S", "", "", ""}}, findings(s))
	got := s.Snapshot().Lint(policy.Session{Principal: "guest", Roles: []string{"R", "S", "unheard of"}})
	require.Len(t, got, 1)
	require.Equal(t, policy.Session{Principal: "guest", Roles: []string{"R", "S"}}, got[0].Session)
	require.Equal(t, policy.HidingRole, got[0].Kind)
}

// A store in which everything is redundant, and everybody has other roles, takes more than near-linear work. It gets less.
func TestLintIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	s := newStore(t, policy.PlainConfig())
	change(t, s, func(tx *policy.Tx) {
		tx.SetPathPermissions("R", "a", "read")
		for i := range 2000 {
			tx.SetPathPermissions("R", fmt.Sprint("a/", i), "read")
			tx.SetPathPermissions(fmt.Sprint("R", i), "b", "read")
			tx.AssignRoles(fmt.Sprint("p", i), "R", fmt.Sprint("R", i))
		}
	})
	got := findings(s)
	require.Len(t, got, 2, "one for each part of the work")
	require.Equal(t, policy.Unfinished, got[0].kind)
}

// scriptWorld makes stores over a few names at random, as scripts.
type scriptWorld struct {
	*rand.Rand
	config policy.Config
}

var worldPaths = func() (paths []string) {
	for _, a := range []string{"a", "b"} {
		paths = append(paths, a)
		for _, b := range []string{"a", "b"} {
			paths = append(paths, a+"/"+b)
			for _, c := range []string{"a", "b"} {
				paths = append(paths, a+"/"+b+"/"+c)
			}
		}
	}
	return paths
}()

// asked is the paths where anything can differ from elsewhere.
func (w *scriptWorld) asked() (paths []string) {
	for _, p := range append([]string{"z"}, worldPaths...) {
		for _, p := range []string{p, p + "/z"} {
			paths = append(paths, strings.ReplaceAll(p, "/", string(rune(w.config.Separator))))
		}
	}
	return paths
}

func (w *scriptWorld) path() string {
	return strings.ReplaceAll(worldPaths[w.IntN(len(worldPaths))], "/", string(rune(w.config.Separator)))
}

func (w *scriptWorld) some(list []string, most int) string {
	var some []string
	for range w.IntN(most + 1) {
		if x := list[w.IntN(len(list))]; !slices.Contains(some, x) {
			some = append(some, x)
		}
	}
	return "[" + strings.Join(some, " ") + "]"
}

var worldRoles = []string{"'R0'", "'R1'", "'R2'", "'R3'", "'R4'"}

func (w *scriptWorld) script() string {
	var l []string
	add := func(format string, a ...any) { l = append(l, fmt.Sprintf(format, a...)) }
	nearest := w.config.Inheritance == policy.NearestAssignment
	permissions := w.config.Vocabulary.Path[:3]
	for range 1 + w.IntN(8) {
		add("set 'R%d' path '%s' permissions %s", w.IntN(5), w.path(), w.some(permissions, 3))
	}
	if w.config.DenyRows {
		for range w.IntN(5) {
			add("set 'R%d' path '%s' denials %s", w.IntN(5), w.path(), w.some(permissions, 2))
		}
	}
	for range w.IntN(3) {
		if nearest {
			add("set 'R%d' default path permissions %s", w.IntN(5), w.some(permissions, 2))
			add("isolate path '%s'", w.path())
		}
		if len(w.config.Vocabulary.Global) > 0 {
			add("set 'R%d' permissions %s", w.IntN(5), w.some(w.config.Vocabulary.Global[:2], 2))
		}
		i := w.IntN(4)
		add("set 'R%d' includes %s", i, w.some(worldRoles[i+1:], 2))
	}
	for _, who := range []string{"ann", "ben"} {
		add("assign roles '%s' %s", who, w.some(worldRoles, 3))
		for range w.IntN(2) {
			add("assign role '%s' 'R%d' until '21%02d-01-01T00:00:00Z'", who, w.IntN(5), w.IntN(3))
		}
	}
	add("set roles for named sessions %s", w.some(worldRoles, 1))
	add("set roles for anonymous sessions %s", w.some(worldRoles, 1))
	return strings.Join(l, "\n")
}

// referenceCommands do on a reference what the lines of canonical scripts say, for names without quotes.
var referenceCommands = []struct {
	form *regexp.Regexp
	do   func(r *reference, x, y string, list []string)
}{
	{regexp.MustCompile(`^set roles for named sessions()() \[(.*)\]$`), func(r *reference, _, _ string, list []string) { r.named = list }},
	{regexp.MustCompile(`^set roles for anonymous sessions()() \[(.*)\]$`), func(r *reference, _, _ string, list []string) { r.anonymous = list }},
	{regexp.MustCompile(`^set '([^']*)'() permissions \[(.*)\]$`), func(r *reference, x, _ string, list []string) { r.role(x).globals = list }},
	{regexp.MustCompile(`^set '([^']*)'() default path permissions \[(.*)\]$`), func(r *reference, x, _ string, list []string) { r.role(x).defaults = list }},
	{regexp.MustCompile(`^set '([^']*)' path '([^']*)' permissions \[(.*)\]$`), func(r *reference, x, y string, list []string) { r.role(x).paths[y] = list }},
	{regexp.MustCompile(`^set '([^']*)' path '([^']*)' denials \[(.*)\]$`), func(r *reference, x, y string, list []string) { r.role(x).denials[y] = list }},
	{regexp.MustCompile(`^set '([^']*)'() includes \[(.*)\]$`), func(r *reference, x, _ string, list []string) { r.role(x).includes = list }},
	{regexp.MustCompile(`^isolate path '([^']*)'()()$`), func(r *reference, x, _ string, _ []string) { r.isolated[x] = true }},
	{regexp.MustCompile(`^assign roles '([^']*)'() \[(.*)\]$`), func(r *reference, x, _ string, list []string) { r.principals[x] = list }},
	{regexp.MustCompile(`^assign role '([^']*)' '([^']*)' until '(.*)'$`), func(r *reference, x, y string, until []string) {
		r.principals[x] = append(r.principals[x], y)
		r.ends[until[0]] = append(r.ends[until[0]], [2]string{x, y})
	}},
}

// referenceOf reads the script of a store into a reference.
func referenceOf(t *testing.T, s *policy.Store, c policy.Config) *reference {
	r := newReference(c)
	r.ends = map[string][][2]string{}
	for line := range strings.SplitSeq(s.Snapshot().Script(), "\n") {
		known := false
		for _, c := range referenceCommands {
			if m := c.form.FindStringSubmatch(line); m != nil {
				c.do(r, m[1], m[2], strings.Fields(strings.ReplaceAll(m[3], "'", "")))
				known = true
			}
		}
		require.True(t, known, line)
	}
	return r
}

// sessions returns the roles of all that there are, now and after each of the ends.
func (r *reference) sessions() (list [][]string) {
	list = append(list, r.held("", nil), r.held("nobody", nil))
	for who, roles := range r.principals {
		ends := []string{""}
		for end := range r.ends {
			ends = append(ends, end)
		}
		for _, now := range ends {
			over := map[string]bool{}
			for end, ended := range r.ends {
				for _, x := range ended {
					over[x[1]] = over[x[1]] || x[0] == who && end <= now
				}
			}
			left := slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return over[role] })
			list = append(list, slices.Concat(r.named, left))
		}
	}
	return list
}

// answers is all decisions there are.
func (r *reference) answers(sessions [][]string, paths []string) (all []string) {
	for _, roles := range sessions {
		all = append(all, fmt.Sprint(roles, r.globals(roles)))
		for _, p := range paths {
			all = append(all, fmt.Sprint(roles, " has on ", p, r.permissions(roles, p)))
		}
	}
	return all
}

// deciding returns the rows that decide on an action at a path, where any ancestor counts: role, path and whether they deny.
func (r *reference) deciding(roles []string, topic, action string) (rows map[string]bool) {
	rows = map[string]bool{}
	parts := strings.Split(topic, r.separator)
	for n := 1; n <= len(parts) && len(rows) == 0; n++ {
		at := strings.Join(parts[:n], r.separator)
		denied := false
		for name := range r.effective(roles) {
			denied = denied || slices.Contains(r.role(name).denials[at], action)
		}
		for name := range r.effective(roles) {
			if list := r.role(name).denials[at]; denied && slices.Contains(list, action) {
				rows[fmt.Sprint(name, " ", at, " denied ", action)] = true
			}
			if list := r.role(name).paths[at]; !denied && slices.Contains(list, action) {
				rows[fmt.Sprint(name, " ", at, " allowed ", action)] = true
			}
		}
	}
	return rows
}

// TestLintEqualsReference tries out, in small stores, every finding and everything that is none.
func TestLintEqualsReference(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	denying := policy.WAMPConfig()
	denying.DenyRows = true
	for name, config := range map[string]policy.Config{"nearest": policy.PlainConfig(), "any ancestor": policy.WAMPConfig(), "deny rows": denying} {
		t.Run(name, func(t *testing.T) {
			found := map[policy.FindingKind]int{}
			stores := max(differentialCases(t)/100, 150)
			if raceEnabled {
				stores = 50 // nothing runs at once here
			}
			for seed := range uint64(stores) {
				w := &scriptWorld{rand.New(rand.NewPCG(seed, 1)), config}
				s := newStore(t, config)
				require.NoError(t, s.Restore(t.Context(), policy.Root(), w.script()))
				for kind, n := range (&lintTrial{T: t, scriptWorld: w, store: s, naive: referenceOf(t, s, config)}).run() {
					found[kind] += n
				}
			}
			t.Log(found)
			for _, kind := range []policy.FindingKind{policy.Unheld, policy.Redundant, policy.EmptyRole} {
				require.Positive(t, found[kind], kind)
			}
		})
	}
}

type lintTrial struct {
	*testing.T
	*scriptWorld
	store    *policy.Store
	naive    *reference
	sessions [][]string
}

func (x *lintTrial) same(before []string, change func(*reference)) bool {
	next := x.naive.clone()
	change(next)
	return slices.Equal(before, next.answers(x.sessions, x.asked()))
}

func (x *lintTrial) run() map[policy.FindingKind]int {
	x.sessions = x.naive.sessions()
	sessions, asked := x.sessions, x.asked()
	before := x.naive.answers(sessions, asked)
	script := x.store.Snapshot().Script()
	found, all := map[policy.FindingKind]int{}, map[string]policy.Finding{}
	for _, f := range x.store.Snapshot().Lint() {
		found[f.Kind]++
		all[fmt.Sprint(f.Kind, " ", f.Role, " ", f.Path)] = f
		if f.Fix == "" {
			continue
		}
		other := newStore(x, x.config)
		require.NoError(x, other.Restore(x.Context(), policy.Root(), script))
		require.NoError(x, other.Update(x.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.Run(f.Fix) }))
		after := referenceOf(x.T, other, x.config)
		if f.Kind == policy.HidingRole {
			require.Subset(x, after.permissions(f.Session.Roles, f.Path), append(f.Permissions, x.naive.permissions(f.Session.Roles, f.Path)...), "%s\n%s", f, script)
			continue
		}
		require.Equal(x, before, after.answers(sessions, asked), "%s\n%s", f, script)
		require.NotContains(x, other.Snapshot().Lint(), f)
	}
	has := func(kind policy.FindingKind, role, path string) bool {
		_, ok := all[fmt.Sprint(kind, " ", role, " ", path)]
		return ok
	}
	held, decided := map[string]bool{}, map[string]bool{}
	hides := map[string][]string{}
	for _, roles := range sessions {
		e := x.naive.effective(roles)
		for name := range e {
			held[name] = true
			less := x.naive.clone()
			less.roles[name] = &referenceRole{}
			for path := range x.naive.role(name).paths {
				more := without(less.permissions(roles, path), x.naive.permissions(roles, path))
				if len(more) > 0 {
					hides[name+" "+path] = append(hides[name+" "+path], fmt.Sprint(more))
				}
			}
		}
		for _, path := range asked {
			for _, action := range x.config.Vocabulary.Path[:3] {
				for row := range x.naive.deciding(roles, path, action) {
					decided[row] = true
				}
			}
		}
	}
	nearest := x.config.Inheritance == policy.NearestAssignment
	for name, role := range x.naive.roles {
		gives := false
		for other := range x.naive.effective([]string{name}) {
			r := x.naive.role(other)
			gives = gives || len(r.globals)+len(r.defaults)+len(r.paths)+len(r.denials) > 0
		}
		require.Equal(x, gives && !held[name], has(policy.Unheld, name, ""), "%s is held\n%s", name, script)
		for path, list := range role.paths {
			if !held[name] {
				continue
			}
			if !nearest {
				for _, action := range list {
					f := all[fmt.Sprint(policy.Shadowed, " ", name, " ", path)]
					never := !decided[fmt.Sprint(name, " ", path, " allowed ", action)] && !slices.Contains(role.denials[path], action)
					if len(role.denials[path]) == 0 { // otherwise there may be two findings
						require.Equal(x, never, slices.Contains(f.Permissions, action), "%s %s %s\n%s", name, path, action, script)
					}
				}
				continue
			}
			more, hidden := hides[name+" "+path]
			require.Equal(x, hidden, has(policy.HidingRole, name, path), "%s hides something on %s\n%s", name, path, script)
			if hidden {
				require.Contains(x, more, fmt.Sprint(all[fmt.Sprint(policy.HidingRole, " ", name, " ", path)].Permissions))
			}
			spare := x.same(before, func(r *reference) { delete(r.role(name).paths, path) })
			require.Equal(x, spare, has(policy.Redundant, name, path), "%s is redundant on %s\n%s", name, path, script)
		}
		if len(role.defaults) > 0 && held[name] {
			spare := x.same(before, func(r *reference) { r.role(name).defaults = nil })
			require.Equal(x, spare, has(policy.Redundant, name, ""), "%s has redundant defaults\n%s", name, script)
		}
	}
	for path := range x.naive.isolated {
		idle := x.same(before, func(r *reference) { delete(r.isolated, path) })
		require.Equal(x, idle, has(policy.IdleIsolation, "", path), "%s is idle\n%s", path, script)
		reached := false
		for _, roles := range sessions {
			for _, p := range asked {
				if p == path || strings.HasPrefix(p, path+"/") {
					reached = reached || len(x.naive.permissions(roles, p)) > 0
				}
			}
		}
		require.Equal(x, !idle && !reached, has(policy.Sealed, "", path), "%s is sealed\n%s", path, script)
	}
	return found
}

// With variables, too, what a finding says to do changes no decision: of those who are stored, and of any others.
func TestLintWithVariablesChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	config := policy.PlainConfig()
	config.Variables = true
	segments := []string{"$principal", "ann", "x"}
	var asked []string
	for _, a := range []string{"ann", "ben", "x", "z", "$principal"} {
		for _, b := range []string{"", "/ann", "/ben", "/x", "/z", "/ben/smith"} {
			asked = append(asked, a+b, a+b+"/z")
		}
	}
	tried := map[policy.FindingKind]int{}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := &scriptWorld{r, config}
		var l []string
		for range 1 + r.IntN(6) {
			path := segments[r.IntN(3)]
			if below := segments[r.IntN(3)]; r.IntN(2) == 0 && below != path {
				path += "/" + below
			}
			l = append(l, fmt.Sprintf("set 'R%d' path '%s' permissions %s", r.IntN(3), path, w.some([]string{"read", "write"}, 2)))
			if r.IntN(4) == 0 {
				l = append(l, fmt.Sprintf("isolate path '%s'", path))
			}
		}
		for _, who := range []string{"ann", "ben", "ben/smith"} {
			l = append(l, fmt.Sprintf("assign roles '%s' %s", who, w.some(worldRoles[:3], 2)))
		}
		l = append(l, "set roles for named sessions "+w.some(worldRoles[:3], 1), "set roles for anonymous sessions "+w.some(worldRoles[:3], 1))
		s := newStore(t, config)
		require.NoError(t, s.Restore(t.Context(), policy.Root(), strings.Join(l, "\n")))
		answers := func(s *policy.Snapshot) (all []string) {
			for _, who := range []string{"ann", "ben", "ben/smith", "x", "nobody", ""} {
				for _, path := range asked {
					all = append(all, fmt.Sprint(who, " has on ", path, s.PathPermissions(s.Session(who), path)))
				}
			}
			return all
		}
		before := answers(s.Snapshot())
		for _, f := range s.Snapshot().Lint() {
			if f.Fix == "" {
				continue
			}
			tried[f.Kind]++
			p, err := s.Preview(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.Run(f.Fix) })
			require.NoError(t, err)
			if f.Kind != policy.HidingRole {
				require.Equal(t, before, answers(p.After), "%s\n%s", f, s.Snapshot().Script())
				continue
			}
			path := strings.ReplaceAll(f.Path, "$principal", f.Session.Principal)
			require.Subset(t, p.After.PathPermissions(f.Session, path), f.Permissions, "%s\n%s", f, s.Snapshot().Script())
			require.NotSubset(t, s.Snapshot().PathPermissions(f.Session, path), f.Permissions, "%s\n%s", f, s.Snapshot().Script())
		}
	}
	for _, kind := range []policy.FindingKind{policy.Redundant, policy.Unreachable, policy.HidingRole, policy.IdleIsolation} {
		require.Positive(t, tried[kind], kind)
	}
	t.Log(tried)
}

func BenchmarkLint(b *testing.B) {
	for _, rules := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint("rules=", rules), func(b *testing.B) {
			s := newBig(b, rules, 6).store.Snapshot()
			b.ReportAllocs()
			for b.Loop() {
				if len(s.Lint()) == 0 {
					b.Fatal("nothing")
				}
			}
		})
	}
}
