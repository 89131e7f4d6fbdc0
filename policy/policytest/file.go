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

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// File is a policy and what it must answer, as JSON. Unknown fields are refused.
type File struct {
	Config    string   `json:"config"`    // "diffusion", "wamp" or "plain"
	Separator string   `json:"separator"` // "/" or "."; empty is that of the config
	DenyRows  bool     `json:"denyRows"`
	Variables bool     `json:"variables"`
	Script    []string `json:"script"` // the lines of what policy.Tx.Run takes
	Cases     []Case   `json:"cases"`  // at least one
}

// Case is one question and its answer: whether somebody has a path permission on a path, or may do an operation on a
// channel, or has a global permission. The roles are those stored for the principal, or for those who have none, and
// Roles.
type Case struct {
	Name      string   `json:"name"` // optional
	Principal string   `json:"principal"`
	Roles     []string `json:"roles"`

	Path       string `json:"path"`
	Permission string `json:"permission"`

	Channel   string `json:"channel"`
	Operation string `json:"operation"` // one of chansec's, such as "subscribe"

	Global string `json:"global"`

	Allowed *bool `json:"allowed"` // never left out
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
		asks := 0
		for _, what := range []string{c.Permission, c.Operation, c.Global} {
			if what != "" {
				asks++
			}
		}
		if c.Allowed == nil || asks != 1 || c.Permission == "" && c.Path != "" || c.Operation == "" && c.Channel != "" {
			return f, fmt.Errorf("%s: want a path and its permission, a channel and its operation or a global permission, and true or false for allowed", c.title(i))
		}
	}
	return f, nil
}

// title names a case in errors.
func (c *Case) title(i int) string {
	if c.Name == "" {
		return fmt.Sprintf("case %d", i+1)
	}
	return fmt.Sprintf("case %d, %q", i+1, c.Name)
}

// config returns what the policy is made for.
func (f *File) config() (policy.Config, error) {
	c, ok := map[string]policy.Config{"diffusion": policy.DiffusionConfig(), "wamp": policy.WAMPConfig(), "plain": policy.PlainConfig()}[f.Config]
	if !ok {
		return c, fmt.Errorf("config %q: want diffusion, wamp or plain", f.Config)
	}
	switch len(f.Separator) {
	case 0:
	case 1:
		c.Separator = policy.Separator(f.Separator[0])
	default:
		return c, fmt.Errorf("separator %q: want a slash or a dot", f.Separator)
	}
	c.DenyRows, c.Variables = f.DenyRows, f.Variables
	return c, nil
}

// run asks all cases. It returns those that failed, in words, and the rules that decided none.
func (f *File) run() (failures, unused []string, err error) {
	config, err := f.config()
	if err != nil {
		return nil, nil, err
	}
	store, err := policy.New(config)
	if err != nil {
		return nil, nil, err
	}
	err = store.Update(context.Background(), policy.Root(), func(tx *policy.Tx) error { return tx.Run(strings.Join(f.Script, "\n")) })
	if err != nil {
		return nil, nil, fmt.Errorf("script: %w", err)
	}
	s := store.Snapshot()
	used := map[policy.Rule]bool{}
	for i, c := range f.Cases {
		allowed, why, because, err := c.ask(store.Authorizer(), s, config)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.title(i), err)
		}
		for _, r := range because {
			used[r] = true
		}
		if allowed != *c.Allowed {
			failures = append(failures, fmt.Sprintf("%s: want allowed %v for %q\n%s", c.title(i), *c.Allowed, c.Principal, why))
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

// ask asks one case. It returns the answer, why, and the rules that decided.
func (c *Case) ask(a *policy.Authorizer, s *policy.Snapshot, config policy.Config) (allowed bool, why string, because []policy.Rule, err error) {
	who := s.Session(c.Principal, c.Roles...)
	var x policy.Explanation
	switch {
	case c.Global != "":
		is := func(name string) bool { return strings.EqualFold(name, c.Global) }
		if !slices.ContainsFunc(config.Vocabulary.Global, is) {
			return false, "", nil, fmt.Errorf("global permission %q: want one of %s", c.Global, strings.Join(config.Vocabulary.Global, ", "))
		}
		held := s.GlobalPermissions(who)
		return slices.ContainsFunc(held, is), fmt.Sprintf("global permissions are %v", held), nil, nil
	case c.Operation != "":
		x, err = a.Explain(chansec.Principal{SystemID: c.Principal, Roles: c.Roles}, chansec.Operation(c.Operation), c.Channel)
	default:
		x, err = s.Explain(who, c.Path, c.Permission)
	}
	for _, path := range decidedBy(x.DecidedBy, c.Principal, config) {
		for _, r := range x.Because {
			because = append(because, policy.Rule{Role: r.Role, Path: path})
		}
	}
	return x.Allowed, x.String(), because, err
}

// decidedBy returns the paths of rules that may have decided at a path: it, and those with a variable for the name.
func decidedBy(path, principal string, config policy.Config) []string {
	list := []string{path}
	if segments := strings.Split(path, string(rune(config.Separator))); config.Variables && principal != "" {
		for i, s := range segments {
			if s == principal {
				segments[i] = "$principal"
				list = append(list, strings.Join(segments, string(rune(config.Separator))))
				segments[i] = s
			}
		}
	}
	return list
}
