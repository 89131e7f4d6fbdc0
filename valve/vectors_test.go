package valve_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/valve"
)

// vectorFile is a file of testdata/vectors (valve-vectors/1), recorded from deepstream.io 10.1.4.
type vectorFile struct {
	ID          string
	Kind        string
	Permissions permissions
	Options     ruleOptions
	Cases       []vectorCase
}

type permissions struct{ Format, Text string }

type ruleOptions struct{ MaxRuleIterations *float64 }

type vectorCase struct {
	ID   string
	Note string
	User struct {
		ID         any // mostly a text
		ServerData json.RawMessage
	}
	Section     valve.Section
	Action      valve.Action
	Name        *string
	Data        json.RawMessage
	DataText    *string
	Path        string
	Now         *int64
	Records     map[string]json.RawMessage
	RecordsText map[string]string
	FailLoad    []string
	Normative   *bool

	Permissions permissions // of a case of kind load
	Options     ruleOptions

	Expect struct {
		Verdict string
		Rule    *string
		Result  *struct{ T string }
		Error   *struct{ Kind, Class string }
		Runs    int
		Loads   []string

		OK   bool
		Code string
	}
}

func vectors(t testing.TB, kind string) []vectorFile {
	names, err := filepath.Glob("testdata/vectors/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	var files []vectorFile
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		var f vectorFile
		require.NoError(t, json.Unmarshal(text, &f), name)
		if f.Kind == kind {
			files = append(files, f)
		}
	}
	return files
}

func (p permissions) load(o ruleOptions) (*valve.Permissions, error) {
	opts := []valve.Option{valve.Sharing}
	if o.MaxRuleIterations != nil {
		opts = append(opts, valve.MaxRuleIterations(int(*o.MaxRuleIterations)))
	}
	if p.Format == "yaml" {
		return valve.ParseYAML([]byte(p.Text), opts...)
	}
	return valve.ParseJSON([]byte(p.Text), opts...)
}

// place names a rule of a file.
type place struct {
	section valve.Section
	path    string
	kind    valve.RuleType
}

// loadWithout loads the file of a vector. Rules that are not safe become false; it returns which.
func loadWithout(t *testing.T, f vectorFile) (*valve.Permissions, map[place]bool) {
	refused := map[place]bool{}
	for {
		p, err := f.Permissions.load(f.Options)
		e, ok := errors.AsType[*valve.LoadError](err)
		if !ok || e.Code != valve.Unsafe {
			require.NoError(t, err)
			return p, refused
		}
		at := place{e.Section, e.Path, e.Type}
		require.False(t, refused[at], err)
		refused[at] = true
		f.Permissions.Text = withoutRule(t, f.Permissions.Text, at)
	}
}

// withoutRule replaces a rule of a file in JSON by false, and leaves everything else as it is.
func withoutRule(t *testing.T, text string, at place) string {
	d := json.NewDecoder(strings.NewReader(text))
	var keys []string
	for {
		token, err := d.Token()
		require.NoError(t, err)
		switch token := token.(type) {
		case json.Delim:
			if token == '}' {
				keys = keys[:len(keys)-1]
			}
		case string:
			keys = append(keys, token)
			if len(keys) < 3 {
				continue
			}
			before := d.InputOffset()
			_, err := d.Token()
			require.NoError(t, err)
			if keys[0] == string(at.section) && keys[1] == at.path && keys[2] == string(at.kind) {
				return text[:before] + ": false" + text[d.InputOffset():]
			}
			keys = keys[:2]
		}
	}
}

// query is what a case asks, with the records that it stores.
func (c *vectorCase) query() *valve.Query {
	q := &valve.Query{User: fmt.Sprint(c.User.ID), Section: c.Section, Action: c.Action, Path: c.Path, Now: time.UnixMilli(1700000000000)}
	if c.Now != nil {
		q.Now = time.UnixMilli(*c.Now)
	}
	if c.User.ServerData != nil {
		q.UserData = c.User.ServerData
	}
	if q.Nameless = c.Name == nil; !q.Nameless {
		q.Name = *c.Name
	}
	switch {
	case c.DataText != nil:
		q.HasData, q.Data = true, json.RawMessage(*c.DataText)
	case c.Data != nil:
		q.HasData, q.Data = true, c.Data
	}
	q.Lookup = valve.LookupFunc(func(_ context.Context, name string) (any, bool, error) {
		for _, failing := range c.FailLoad {
			if failing == name {
				return nil, false, errors.New("the store is away")
			}
		}
		if text, ok := c.RecordsText[name]; ok {
			return json.RawMessage(text), true, nil
		}
		content, ok := c.Records[name]
		return content, ok, nil
	})
	return q
}

func TestEvaluateAgreesWithDeepstream(t *testing.T) {
	skipped, all := 0, 0
	for _, f := range vectors(t, "eval") {
		t.Run(f.ID, func(t *testing.T) {
			p, refused := loadWithout(t, f)
			for _, c := range f.Cases {
				all++
				_, named := c.User.ID.(string) // chansec knows no numbers as IDs
				if c.Normative != nil && !*c.Normative || !named {
					skipped++
					continue
				}
				t.Run(c.ID, func(t *testing.T) {
					q := c.query()
					res, err := p.Evaluate(t.Context(), q)
					verdict := "deny"
					if err != nil {
						verdict = "error"
					} else if res.Allowed {
						verdict = "allow"
					}
					if refused[place{q.Section, res.Rule, res.Type}] {
						skipped++
						require.False(t, res.Allowed)
						return
					}
					require.Equal(t, c.Expect.Verdict, verdict, "%s: %v", c.Note, err)
					if c.Expect.Rule == nil {
						require.Empty(t, res.Rule)
					} else if *c.Expect.Rule != "(not permissioned)" {
						require.Equal(t, *c.Expect.Rule, res.Rule)
					}
					require.Equal(t, c.Expect.Loads, append([]string{}, res.Loads...))
					require.Equal(t, c.Expect.Runs, res.Rounds)
					if c.Expect.Error != nil {
						e, ok := errors.AsType[*valve.EvalError](err)
						require.True(t, ok, err)
						require.Equal(t, c.Expect.Error.Kind, string(e.Failure), err)
						require.Equal(t, e.Failure != valve.LoadFailed, errors.Is(err, chansec.ErrPermission))
						if c.Expect.Error.Class != "" {
							require.Equal(t, c.Expect.Error.Class, e.Class)
						}
					} else if c.Expect.Runs > 0 {
						require.Equal(t, c.Expect.Result.T, res.Value)
					}
				})
			}
		})
	}
	t.Logf("%d of %d cases are not compared", skipped, all)
}

func TestLoadAgreesWithDeepstream(t *testing.T) {
	for _, f := range vectors(t, "load") {
		t.Run(f.ID, func(t *testing.T) {
			for _, c := range f.Cases {
				if c.Normative != nil && !*c.Normative {
					continue
				}
				t.Run(c.ID, func(t *testing.T) {
					_, err := c.Permissions.load(c.Options)
					e, _ := errors.AsType[*valve.LoadError](err)
					if c.Expect.OK {
						if e != nil && e.Code == valve.Unsafe {
							return
						}
						require.NoError(t, err, c.Note)
						return
					}
					require.NotNil(t, e, "%s: %v", c.Note, err)
					if c.Expect.Code == "internal-error" || e.Code == valve.Unsafe {
						return
					}
					require.Equal(t, c.Expect.Code, string(e.Code), "%s: %v", c.Note, err)
				})
			}
		})
	}
}
