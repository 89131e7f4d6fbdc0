package policytest

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFile(t *testing.T) { RunFile(t, "testdata/desk.json") }

func desk(t *testing.T, edit ...string) (File, error) {
	text, err := os.ReadFile("testdata/desk.json")
	require.NoError(t, err)
	return parseFile([]byte(strings.NewReplacer(edit...).Replace(string(text))))
}

func TestFilesThatFail(t *testing.T) {
	f, err := desk(t, `"desk/fx"`, `"fx"`)
	require.NoError(t, err)
	failures, unused, err := f.run()
	require.NoError(t, err)
	require.Len(t, failures, 1)
	require.Contains(t, failures[0], "case 1 traders update their desk")
	require.Contains(t, failures[0], "decided by default path permissions", "it says why")
	require.Equal(t, []string{`role "TRADER" on "desk"`}, unused)
}

func TestFilesThatMakeNoSense(t *testing.T) {
	for name, edit := range map[string][2]string{
		"an unknown field":      {`"cases"`, `"kases"`},
		"no answer":             {`"allowed": true`, `"allowed": null`},
		"an answer in words":    {`"allowed": true`, `"allowed": "yes"`},
		"no cases":              {`"cases": [`, `"cases": [], "script": [`},
		"another config":        {`"diffusion"`, `"other"`},
		"a script that fails":   {`includes ['CLIENT']`, `includes ['TRADER']`},
		"an unknown permission": {`"permission": "UPDATE_TOPIC"`, `"permission": "FLY"`},
	} {
		f, err := desk(t, edit[0], edit[1])
		if err == nil {
			_, _, err = f.run()
		}
		require.Error(t, err, name)
	}
}
