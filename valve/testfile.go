package valve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// TB is the part of testing.TB that TestFile needs.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// Case is a question about a permission file, and the answer that is expected. In JSON its members have the names of the
// fields, in lower case.
type Case struct {
	Name     string          // for people
	User     string          // the ID
	UserData json.RawMessage // nothing is null
	Section  Section
	Action   Action
	On       string          // the name of the record, event, procedure or user
	Path     string          // of a PATCH
	Data     json.RawMessage // the payload; nothing is none
	Records  map[string]json.RawMessage
	Now      *time.Time // the present if there is none
	Allow    bool       // what is expected; a rule that throws denies
	Rule     string     // the path that is expected to decide; any if it is empty
}

// maxCases bounds the number of cases in a file.
const maxCases = 10_000

// TestFile checks a permission file by the cases in the file beside it, the name of which ends in .cases.json instead: a list
// of Case. A case whose answer is another fails the test with the explanation. What no case exercised, whole rules and
// parts of their expressions, is logged.
func TestFile(t TB, file string, opts ...Option) {
	t.Helper()
	source, err := readFile(file)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	p, err := parseFile(file, source, opts)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	cases, err := readCases(strings.TrimSuffix(file, filepath.Ext(file)) + ".cases.json")
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	seen := map[string][]bool{}
	for i, c := range cases {
		x := p.Explain(context.Background(), c.Query(), true)
		if x.Allowed != c.Allow || c.Rule != "" && x.Rule != c.Rule {
			want := "denied"
			if c.Allow {
				want = "allowed"
			}
			if c.Rule != "" {
				want += " by the path " + quote(c.Rule)
			}
			t.Errorf("case %d (%s): want %s, got\n%s", i, c.Name, want, x)
		}
		if x.Rule == "" {
			continue
		}
		told := seen[x.label]
		if told == nil {
			told = make([]bool, len(x.told))
		}
		for j := range min(len(told), len(x.told)) {
			told[j] = told[j] || x.told[j]
		}
		seen[x.label] = told
	}
	for _, text := range p.untested(seen) {
		t.Logf("not exercised: %s", text)
	}
}

// untested returns what was not exercised, in the order of the file.
func (p *Permissions) untested(seen map[string][]bool) []string {
	var missing []string
	for _, r := range p.rules {
		told, ok := seen[r.label]
		if !ok {
			missing = append(missing, fmt.Sprintf("line %d: %s", r.line, r.label))
			continue
		}
		if r.constant || !slices.Contains(told, false) {
			continue
		}
		t := &tracer{text: r.text}
		if _, _, err := r.translate(p.options, t, 0); err != nil {
			continue // it was translated before
		}
		for i, yes := range told {
			if !yes {
				missing = append(missing, fmt.Sprintf("line %d: %s: %s", r.line, r.label, t.spans[i]))
			}
		}
	}
	return missing
}

// readCases reads a file of cases.
func readCases(file string) ([]Case, error) {
	text, err := readFile(file)
	if err != nil {
		return nil, err
	}
	var cases []Case
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&cases); err != nil {
		return nil, fmt.Errorf("valve: %s: %w", filepath.Base(file), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("valve: %s: more text after the list", filepath.Base(file))
	}
	if len(cases) == 0 || len(cases) > maxCases {
		return nil, fmt.Errorf("valve: %s: %d cases: want 1 to %d", filepath.Base(file), len(cases), maxCases)
	}
	return cases, nil
}

// Query returns what a case asks.
func (c *Case) Query() *Query {
	q := &Query{User: c.User, Section: c.Section, Action: c.Action, Name: c.On, Path: c.Path, HasData: c.Data != nil, Data: c.Data}
	if c.UserData != nil {
		q.UserData = c.UserData
	}
	if c.Now != nil {
		q.Now = *c.Now
	}
	q.Lookup = LookupFunc(func(_ context.Context, name string) (any, bool, error) {
		content, found := c.Records[name]
		return content, found, nil
	})
	return q
}
