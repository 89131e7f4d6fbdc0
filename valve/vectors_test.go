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
	opts := []valve.Option{valve.Sharing, valve.TimeLimit(time.Minute)} // the machine of the test may be slow
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
	// What is not compared, and never allowed where deepstream denies or fails.
	const (
		host    = "not normative, denied here: objects of deepstream's host, and old comments"
		same    = "not normative, allowed here as well: no require, and what every JavaScript has"
		numeric = "a user's ID that is a number: IDs are texts here"
		unsafe  = "rules that do not load here: denied, since loadWithout makes them false"
	)
	groups, all := map[string]int{}, 0
	for _, f := range vectors(t, "eval") {
		t.Run(f.ID, func(t *testing.T) {
			p, refused := loadWithout(t, f)
			for _, c := range f.Cases {
				all++
				_, named := c.User.ID.(string)
				t.Run(c.ID, func(t *testing.T) {
					q := c.query()
					res, err := p.Evaluate(t.Context(), q)
					verdict := "deny"
					if err != nil {
						verdict = "error"
					} else if res.Allowed {
						verdict = "allow"
					}
					switch {
					case c.Normative != nil && !*c.Normative:
						require.Equal(t, "allow", c.Expect.Verdict)
						if res.Allowed {
							groups[same]++
						} else {
							groups[host]++
						}
						return
					case refused[place{q.Section, res.Rule, res.Type}]:
						groups[unsafe]++
						require.False(t, res.Allowed)
						require.NoError(t, err)
						return
					case !named:
						groups[numeric]++ // the same digits as a text
						require.Equal(t, c.Expect.Verdict == "allow", res.Allowed)
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
	require.Equal(t, 908, all)
	require.Equal(t, map[string]int{host: 6, same: 3, numeric: 2, unsafe: 21}, groups)
}

func TestLoadAgreesWithDeepstream(t *testing.T) {
	// What has another outcome here, and is always refused.
	const (
		odd     = "not normative, refused here"
		octal   = "not normative, loaded by both: octal numbers and escapes"
		unsafe  = "deepstream loads it, and it is unsafe"
		sooner  = "refused by both, here as unsafe"
		crashes = "an internal error of deepstream"
	)
	groups, all := map[string]int{}, 0
	for _, f := range vectors(t, "load") {
		t.Run(f.ID, func(t *testing.T) {
			for _, c := range f.Cases {
				all++
				t.Run(c.ID, func(t *testing.T) {
					_, err := c.Permissions.load(c.Options)
					e, _ := errors.AsType[*valve.LoadError](err)
					require.Equal(t, e == nil, err == nil, err)
					switch {
					case c.Normative != nil && !*c.Normative:
						if e == nil {
							groups[octal]++
							require.True(t, c.Expect.OK)
						} else {
							groups[odd]++
						}
					case c.Expect.OK && e != nil:
						groups[unsafe]++
						require.Equal(t, valve.Unsafe, e.Code, "%s: %v", c.Note, err)
					case c.Expect.OK:
					case c.Expect.Code == "internal-error":
						groups[crashes]++
						require.NotNil(t, e)
					case e != nil && e.Code == valve.Unsafe:
						groups[sooner]++
					default:
						require.NotNil(t, e, "%s: %v", c.Note, err)
						require.Equal(t, c.Expect.Code, string(e.Code), "%s: %v", c.Note, err)
					}
				})
			}
		})
	}
	require.Equal(t, 326, all)
	require.Equal(t, map[string]int{odd: 3, octal: 2, unsafe: 11, sooner: 1, crashes: 2}, groups)
}
