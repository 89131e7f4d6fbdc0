package sqlstore

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/internal/topicvectors"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// quickKey is what stands for the secrets of users who do not log in.
var quickKey = secretKey{salt: "salt", iterations: MinIterations, key: "key"}

// addUsers adds users with no work.
func addUsers(t testing.TB, s *Store, logins ...string) {
	require.NoError(t, s.users.change(t.Context(), policy.Root(), func(x *tx, revision uint64) error {
		for _, login := range logins {
			if err := s.users.add(t.Context(), x, policy.Root(), NewUser{Login: login}, quickKey, revision); err != nil {
				return err
			}
		}
		return nil
	}))
}

// populate puts what a vector begins with into an empty store.
func populate(t testing.TB, s *Store, db topicvectors.DB) {
	addUsers(t, s, db.Users...)
	require.NoError(t, s.policy.Update(t.Context(), policy.Root(), db.Fill))
}

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
	for name, v := range topicvectors.Checks(t) {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				c := policy.WAMPConfig()
				c.Delegation, c.DenyRows = true, v.Optional
				s := x.open(t, Options{Policy: c})
				populate(t, s, v.DB)
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
func (w *town) step(s topicvectors.Step) (result any, err error) {
	ctx := w.Context()
	switch {
	case s.Op != "":
		arguments, err := json.Marshal(s.Args)
		require.NoError(w, err)
		return w.admin.Do(ctx, policy.ActorNamed(s.As), s.Op, arguments)
	case s.Connect != nil:
		if !w.users.Active(s.Connect.User) {
			return nil, no(Denied, "login", s.Connect.User, "an active user")
		}
		if err := connect(ctx, w.Store, s.Connect.User, s.Connect.Session); err != nil {
			return nil, err
		}
		return nil, w.log(ctx, s.Connect.User, s.Connect.Session, audit.OpLogin)
	case s.Disconnect != nil:
		live, err := w.live(ctx, s.Disconnect.Session)
		if err != nil {
			return nil, err
		}
		if err := w.log(ctx, live.Login, s.Disconnect.Session, audit.OpLogout); err != nil {
			return nil, err
		}
		return nil, disconnect(ctx, w.Store, s.Disconnect.Session, session.LoggedOut)
	case s.Act != nil:
		return w.act(ctx, s.Act.Session, s.Act.Action, s.Act.Topic)
	case s.Audit != nil:
		return w.activity.List(ctx, ActionFilter{All: true})
	}
	panic("the vectors have a new step")
}

// log is what a router writes when a session begins or ends.
func (w *town) log(ctx context.Context, login string, number int64, op chansec.Operation) error {
	return w.activity.Log(ctx, audit.Record{Time: time.Now(), Kind: audit.KindSession, Principal: login, Session: strconv.FormatInt(number, 10),
		Operation: op, Outcome: chansec.Allowed})
}

func (w *town) live(ctx context.Context, number int64) (Live, error) {
	live, err := w.sessions.Get(ctx, SessionRef{Number: number})
	if err != nil {
		return live, no(NoSession, "session", strconv.FormatInt(number, 10), "one that is live")
	}
	return live, nil
}

// act is what a router does when a session wants something.
func (w *town) act(ctx context.Context, number int64, action, topic string) (allowed bool, err error) {
	live, err := w.live(ctx, number)
	if err != nil {
		return false, err
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
	v := topicvectors.Scenarios(t)
	for _, scenario := range v.Scenarios {
		t.Run(scenario.ID, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				s := x.open(t, Options{Users: UserOptions{Iterations: MinIterations}})
				populate(t, s, v.DB)
				admin, err := s.Administration(AdministrationOptions{})
				require.NoError(t, err)
				w := &town{t, s, admin}
				s.sessions.OnKick(func(k Kick) {
					var login string
					if s.db.QueryRow("select principal from session where name = $1", k.Session).Scan(&login) == nil {
						_ = w.log(context.Background(), login, k.Number, audit.OpLogout)
					}
				})
				for i, step := range scenario.Steps {
					at := scenario.ID + " " + strconv.Itoa(i) + " " + step.Op
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
