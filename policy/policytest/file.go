package policytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chansec/chansec/policy"
)

// File is a policy and what it must answer, as JSON. Unknown fields are refused.
type File struct {
	Config string   `json:"config"` // "diffusion", "wamp" or "plain"
	Script []string `json:"script"` // the lines of what policy.Tx.Run takes
	Cases  []Case   `json:"cases"`  // at least one
}

// Case is one question and its answer. The roles are those stored for the principal, and Roles.
type Case struct {
	Name       string   `json:"name"` // optional
	Principal  string   `json:"principal"`
	Roles      []string `json:"roles"`
	Path       string   `json:"path"`
	Permission string   `json:"permission"`
	Allowed    *bool    `json:"allowed"` // never left out
}

// RunFile checks a policy by a file. It logs the rules that no case was decided by.
func RunFile(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFile(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	failures, unused, err := f.run()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, text := range failures {
		t.Error(text)
	}
	for _, rule := range unused {
		t.Logf("no case was decided by %s", rule)
	}
}

func parseFile(text []byte) (f File, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, err
	}
	if _, err := d.Token(); err != io.EOF {
		return f, errors.New("something is behind the end")
	}
	if len(f.Cases) == 0 {
		return f, errors.New("no cases")
	}
	for i, c := range f.Cases {
		if c.Allowed == nil || c.Permission == "" {
			return f, fmt.Errorf("case %d: want a permission, and true or false for allowed", i+1)
		}
	}
	return f, nil
}

// run asks all cases. It returns those that failed, in words, and the rules that decided none.
func (f *File) run() (failures, unused []string, err error) {
	config, ok := map[string]policy.Config{"diffusion": policy.DiffusionConfig(), "wamp": policy.WAMPConfig(), "plain": policy.PlainConfig()}[f.Config]
	if !ok {
		return nil, nil, fmt.Errorf("config %q: want diffusion, wamp or plain", f.Config)
	}
	store, err := policy.New(config)
	if err != nil {
		return nil, nil, err
	}
	err = store.Update(context.Background(), policy.Root(), func(tx *policy.Tx) error { return tx.Run(strings.Join(f.Script, "\n")) })
	if err != nil {
		return nil, nil, err
	}
	s := store.Snapshot()
	used := map[policy.Rule]bool{}
	for i, c := range f.Cases {
		x, err := s.Explain(s.Session(c.Principal, c.Roles...), c.Path, c.Permission)
		if err != nil {
			return nil, nil, fmt.Errorf("case %d: %w", i+1, err)
		}
		for _, r := range x.Because {
			used[policy.Rule{Role: r.Role, Path: x.DecidedBy}] = true
		}
		if x.Allowed != *c.Allowed {
			failures = append(failures, fmt.Sprintf("case %d %s: want allowed %v for %q\n%s", i+1, c.Name, *c.Allowed, c.Principal, x))
		}
	}
	for r := range s.Rules() {
		if !used[r] {
			unused = append(unused, fmt.Sprintf("role %q on %q", r.Role, r.Path))
		}
	}
	slices.Sort(unused)
	return failures, unused, nil
}
