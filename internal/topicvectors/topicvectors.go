// Package topicvectors has the test cases of sqlauth's rule (sqlauth.md 12), for the tests of everything that keeps it: the
// policy, a database, a router and the command line.
package topicvectors

import (
	"embed"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/chansec/chansec/policy"
)

//go:embed *.json
var files embed.FS

// Vector is a file of cases: checks or scenarios.
type Vector struct {
	Kind      string
	Optional  bool // its policy has rows that deny
	DB        DB
	Cases     []Case
	Scenarios []Scenario
}

// DB is what is there before anything is asked.
type DB struct {
	Users     []string
	Roles     []struct{ Name, Bind string }
	Topics    []string
	UserRoles [][2]string // login, role
	Grants    []struct {
		Topic, Role, Action string
		Allow               bool
	}
}

// Case asks whether a user may do something.
type Case struct {
	ID, User, Topic, Action string
	Match                   policy.Match
	Allowed                 bool
	DecidedBy               *string
}

// Scenario is steps that are done in order, beginning with the DB.
type Scenario struct {
	ID    string
	Steps []Step
}

// Step is one of an operation, a check, what a session does, or the whole log; and what comes of it.
type Step struct {
	As, Op  string
	Args    map[string]any
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

// Checks returns the files of checks, by name.
func Checks(t testing.TB) map[string]Vector { return all(t, "checks-") }

// Scenarios returns the file of scenarios.
func Scenarios(t testing.TB) Vector { return all(t, "scenarios-")["scenarios-administration"] }

// all returns the files whose names begin in a way, of which there must be some with cases.
func all(t testing.TB, prefix string) map[string]Vector {
	t.Helper()
	found := map[string]Vector{}
	entries, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		var v Vector
		text, err := files.ReadFile(e.Name())
		if err == nil {
			err = json.Unmarshal(text, &v)
		}
		if err != nil {
			t.Fatal(e.Name(), err)
		}
		if len(v.Cases)+len(v.Scenarios) == 0 {
			t.Fatal(e.Name(), "has no cases")
		}
		found[strings.TrimSuffix(e.Name(), path.Ext(e.Name()))] = v
	}
	return found
}

// Fill puts all of it into an empty policy with delegation, but for the users, whom a policy does not know.
func (db *DB) Fill(tx *policy.Tx) error {
	for _, topic := range db.Topics {
		if err := tx.AddTopic(topic); err != nil {
			return err
		}
	}
	for _, r := range db.Roles {
		if err := tx.SetRoleBinding(r.Name, r.Bind); err != nil {
			return err
		}
	}
	return db.FillGrants(tx)
}

// FillGrants puts who is in which role, and what roles may do, into an empty policy.
func (db *DB) FillGrants(tx *policy.Tx) error {
	roles := map[string][]string{}
	for _, m := range db.UserRoles {
		roles[m[0]] = append(roles[m[0]], m[1])
		if err := tx.AssignRoles(m[0], roles[m[0]]...); err != nil {
			return err
		}
	}
	denied := map[[2]string][]string{}
	for _, g := range db.Grants {
		var err error
		if at := [2]string{g.Role, g.Topic}; g.Allow {
			err = tx.Grant(g.Role, g.Topic, g.Action)
		} else {
			denied[at] = append(slices.Clip(denied[at]), g.Action)
			err = tx.SetPathDenials(g.Role, g.Topic, denied[at]...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
