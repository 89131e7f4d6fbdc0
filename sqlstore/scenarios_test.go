package sqlstore

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// vectorDB is the store of a vector (sqlauth.md 12).
type vectorDB struct {
	Users     []string
	Roles     []struct{ Name, Bind string }
	Topics    []string
	UserRoles [][2]string
	Grants    []struct {
		Topic, Role, Action string
		Allow               bool
	}
}

type vector struct {
	Kind     string
	Optional bool
	DB       vectorDB
	Cases    []struct {
		ID, User, Topic, Action string
		Match                   policy.Match
		Allowed                 bool
		DecidedBy               *string
	}
	Scenarios []struct {
		ID    string
		Steps []vectorStep
	}
}

type vectorStep struct {
	As, Op  string
	Args    json.RawMessage
	Check   *struct{ User, Topic, Action string }
	Connect *struct {
		User    string
		Session int64
	}
	Disconnect *struct{ Session int64 }
	Act        *struct {
		Session       int64
		Action, Topic string
	}
	Audit  *struct{}
	Expect struct {
		OK        bool
		Error     string
		Result    any
		Allowed   bool
		DecidedBy *string
	}
}

// vectors are all that there are, by the names of their files.
func vectors(t *testing.T) map[string]vector {
	files, err := filepath.Glob("testdata/topics/*.json")
	require.NoError(t, err)
	require.Len(t, files, 5)
	all := map[string]vector{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var v vector
		require.NoError(t, json.Unmarshal(text, &v))
		all[filepath.Base(file)] = v
	}
	return all
}

// quickKey is what stands for the secrets of users who do not log in.
var quickKey = secretKey{salt: "salt", iterations: MinIterations, key: "key"}

// addUsers adds users with no work.
func addUsers(t testing.TB, s *Store, logins ...string) {
	require.NoError(t, s.users.change(t.Context(), func(x *tx, revision uint64) error {
		for _, login := range logins {
			if err := s.users.add(t.Context(), x, policy.Root(), NewUser{Login: login}, quickKey, revision); err != nil {
				return err
			}
		}
		return nil
	}))
}

// fill puts a vector's store into an empty one.
func (db *vectorDB) fill(t testing.TB, s *Store) {
	addUsers(t, s, db.Users...)
	require.NoError(t, s.policy.Update(t.Context(), policy.Root(), func(p *policy.Tx) error {
		for _, topic := range db.Topics {
			if err := p.AddTopic(topic); err != nil {
				return err
			}
		}
		for _, r := range db.Roles {
			if err := p.SetRoleBinding(r.Name, r.Bind); err != nil {
				return err
			}
		}
		denied := map[[2]string][]string{}
		for _, g := range db.Grants {
			if !g.Allow {
				denied[[2]string{g.Role, g.Topic}] = append(denied[[2]string{g.Role, g.Topic}], g.Action)
			} else if err := p.Grant(g.Role, g.Topic, g.Action); err != nil {
				return err
			}
		}
		for of, actions := range denied {
			if err := p.SetPathDenials(of[0], of[1], actions...); err != nil {
				return err
			}
		}
		for _, x := range db.UserRoles {
			if err := p.AssignRoleUntil(x[0], x[1], time.Time{}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// actor is who does something, by the name that vectors have.
func actor(name string) policy.Actor { return policy.ActorNamed(name) }

// explained is the check of sqlauth.md 4.
func explained(t *testing.T, s *Store, user, topic, action string) (allowed bool, decidedBy *string) {
	d, err := s.users.Authorizer().Check(chansec.Principal{SystemID: user}, action, topic)
	require.NoError(t, err)
	if d.Rule != "" && d.Allowed {
		decidedBy = &d.Rule
	}
	return d.Allowed, decidedBy
}

func TestChecksOfTheVectors(t *testing.T) {
	for name, v := range vectors(t) {
		if v.Kind != "checks" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				c := policy.WAMPConfig()
				c.Delegation, c.DenyRows = true, v.Optional
				s := x.open(t, Options{Policy: c})
				v.DB.fill(t, s)
				a := s.users.Authorizer()
				for _, c := range v.Cases {
					d := chansec.Decision{}
					if path, ok := policy.FixedPart(c.Topic, c.Match); ok {
						var err error
						d, err = a.Check(chansec.Principal{SystemID: c.User}, c.Action, path)
						require.NoError(t, err)
					}
					require.Equal(t, c.Allowed, d.Allowed, c.ID)
					want := ""
					if c.DecidedBy != nil {
						want = *c.DecidedBy
					}
					require.Equal(t, want, d.Rule, c.ID)
				}
			})
		})
	}
}

// town is a store and its administration, with a router that is nothing but its sessions.
type town struct {
	*testing.T
	*Store
	admin *Administration
}

// step does a step of a scenario.
func (w *town) step(s vectorStep) (result any, err error) {
	ctx := w.Context()
	switch {
	case s.Op != "":
		return w.admin.Do(ctx, actor(s.As), s.Op, s.Args)
	case s.Connect != nil:
		_, err := w.sessions.Connect(ctx, s.Connect.User, s.Connect.Session, "192.0.2.1:80")
		return nil, err
	case s.Disconnect != nil:
		return nil, w.sessions.Disconnect(ctx, s.Disconnect.Session, session.LoggedOut)
	case s.Act != nil:
		return w.act(ctx, s.Act.Session, s.Act.Action, s.Act.Topic)
	case s.Audit != nil:
		return w.activity.List(ctx, ActionFilter{All: true})
	}
	panic("the vectors have a new step")
}

// act is what a router does when a session wants something.
func (w *town) act(ctx context.Context, number int64, action, topic string) (allowed bool, err error) {
	live, err := w.sessions.Get(ctx, SessionRef{Number: number})
	if err != nil {
		return false, no(NoSession, "session", strconv.FormatInt(number, 10), "one that is live")
	}
	d, err := w.users.Authorizer().Check(chansec.Principal{SystemID: live.Login}, action, topic)
	if err != nil {
		return false, err
	}
	r := audit.Record{Time: time.Now(), Kind: audit.KindDecision, Principal: live.Login, Session: live.ID, Target: topic,
		Operation: chansec.Operation(action), Outcome: chansec.Denied, Reason: d.Reason, Rule: d.Rule}
	if d.Allowed {
		r.Outcome = chansec.Allowed
	}
	return d.Allowed, w.activity.Log(ctx, r)
}

// shown is as much of a result as the vectors show of one.
func shown(want, got any) any {
	switch want := want.(type) {
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return got
		}
		var all []any
		for i := range want {
			all = append(all, shown(want[i], list[i]))
		}
		if all == nil {
			all = []any{}
		}
		return all
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return got
		}
		some := map[string]any{}
		for key := range want {
			some[key] = object[key]
		}
		return some
	}
	return got
}

func TestScenariosOfTheVectors(t *testing.T) {
	v := vectors(t)["scenarios-administration.json"]
	require.NotEmpty(t, v.Scenarios)
	for _, scenario := range v.Scenarios {
		t.Run(scenario.ID, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				s := x.open(t, Options{Users: UserOptions{Iterations: MinIterations}})
				v.DB.fill(t, s)
				admin, err := s.Administration(AdministrationOptions{})
				require.NoError(t, err)
				w := &town{t, s, admin}
				for i, step := range scenario.Steps {
					at := scenario.ID + " " + strconv.Itoa(i) + " " + step.Op + string(step.Args)
					if step.Check != nil {
						allowed, decidedBy := explained(t, s, step.Check.User, step.Check.Topic, step.Check.Action)
						require.Equal(t, step.Expect.Allowed, allowed, at)
						require.Equal(t, step.Expect.DecidedBy, decidedBy, at)
						continue
					}
					result, err := w.step(step)
					if !step.Expect.OK {
						kind, ok := KindOf(err)
						require.True(t, ok, "%s: %v", at, err)
						require.Equal(t, step.Expect.Error, string(kind), "%s: %v", at, err)
						continue
					}
					require.NoError(t, err, at)
					if step.Act != nil {
						require.Equal(t, step.Expect.Allowed, result, at)
					}
					if step.Expect.Result != nil {
						text, err := json.Marshal(result)
						require.NoError(t, err)
						var got any
						require.NoError(t, json.Unmarshal(text, &got))
						require.Equal(t, step.Expect.Result, shown(step.Expect.Result, got), at)
					}
				}
			})
		})
	}
}
