package policytest

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFile(t *testing.T) {
	RunFile(t, "testdata/desk.json")
	RunFile(t, "testdata/router.json")
}

func TestRulesThatDecideNothing(t *testing.T) {
	text, err := os.ReadFile("testdata/router.json")
	require.NoError(t, err)
	f, err := parseFile(text)
	require.NoError(t, err)
	failures, unused, err := f.run()
	require.NoError(t, err)
	require.Empty(t, failures)
	require.Equal(t, []string{`role "USER" on "com/audit"`}, unused, "a rule with a variable has decided")
}

func desk(t *testing.T, edit ...string) (File, error) {
	text, err := os.ReadFile("testdata/desk.json")
	require.NoError(t, err)
	return parseFile([]byte(strings.NewReplacer(edit...).Replace(string(text))))
}

func TestFilesThatFail(t *testing.T) {
	f, err := desk(t, `"path": "desk/fx"`, `"path": "fx"`, `"channel": "desk/fx"`, `"channel": "desk/notes"`, `"view_security"`, `"view_server"`)
	require.NoError(t, err)
	failures, unused, err := f.run()
	require.NoError(t, err)
	require.Len(t, failures, 3)
	require.Contains(t, failures[0], `case 1, "traders update their desk": want allowed true for "tom"`)
	require.Contains(t, failures[1], `case 6, "but auditors do": want allowed true for "aud"`)
	require.Contains(t, failures[1], "global permissions are [VIEW_SECURITY]", "it says why")
	require.Contains(t, failures[2], `case 7, "traders write their channels"`)
	require.Contains(t, failures[0], "decided by default path permissions", "it says why")
	require.Equal(t, []string{`role "TRADER" on "desk"`}, unused)
}

func TestFilesThatMakeNoSense(t *testing.T) {
	for name, edit := range map[string][2]string{
		"an unknown field":      {`"cases"`, `"kases"`},
		"another unknown field": {`"path": "desk/fx"`, `"paht": "desk/fx"`},
		"no answer":             {`"allowed": true`, `"allowed": null`},
		"an answer in words":    {`"allowed": true`, `"allowed": "yes"`},
		"no cases":              {`"cases": [`, `"cases": [], "script": [`},
		"another config":        {`"diffusion"`, `"other"`},
		"a script that fails":   {`includes ['CLIENT']`, `includes ['TRADER']`},
		"an unknown permission": {`"permission": "UPDATE_TOPIC"`, `"permission": "FLY"`},

		"two questions":                  {`"global": "VIEW_SECURITY"`, `"global": "VIEW_SECURITY", "permission": "READ_TOPIC"`},
		"a path that nothing asks for":   {`"global": "VIEW_SECURITY"`, `"global": "VIEW_SECURITY", "path": "a"`},
		"a channel without an operation": {`"operation": "write", `, ``},
		"an unknown operation":           {`"operation": "write"`, `"operation": "shred"`},
		"an unknown global permission":   {`"global": "VIEW_SECURITY"`, `"global": "FLY"`},
		"another separator":              {`"config": "diffusion"`, `"config": "diffusion", "separator": ":"`},
		"two separators":                 {`"config": "diffusion"`, `"config": "diffusion", "separator": "//"`},
		"denials with defaults":          {`"config": "diffusion"`, `"config": "diffusion", "denyRows": true`},
	} {
		f, err := desk(t, edit[0], edit[1])
		if err == nil {
			_, _, err = f.run()
		}
		require.Error(t, err, name)
	}
	f, err := desk(t, `"permission": "UPDATE_TOPIC"`, `"permission": "FLY"`)
	require.NoError(t, err)
	_, _, err = f.run()
	require.ErrorContains(t, err, `case 1, "traders update their desk": policy: unknown-permission`, "an error names its case")
}
