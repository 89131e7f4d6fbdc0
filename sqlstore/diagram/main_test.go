package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readme is where the schema is drawn.
const readme = "../../README.md"

func TestTheReadmeDrawsTheSchemaAsItIs(t *testing.T) {
	drawn, err := draw(t.Context())
	require.NoError(t, err)
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	replaced, err := replace(text, drawn)
	require.NoError(t, err)
	require.Equal(t, string(replaced), string(text), "draw it again: cd sqlstore && go run ./diagram ../README.md")
}

func TestADiagramNamesColumnsKeysAndReferences(t *testing.T) {
	drawn, err := draw(t.Context())
	require.NoError(t, err)
	for _, line := range []string{
		"    topicrole {",
		"        integer id PK",
		"        bigint topic_id FK, UK",
		"        bigint bind_to FK \"or null\"",
		"    topic ||--o{ topicrole : topic_id",
		"    topic |o--o{ role : bind_to",
	} {
		require.Contains(t, strings.Split(drawn, "\n"), line)
	}
	again, err := draw(t.Context())
	require.NoError(t, err)
	require.Equal(t, drawn, again)
}

func TestOnlyWhatStandsBetweenTheLinesIsReplaced(t *testing.T) {
	for name, x := range map[string]struct{ before, after string }{
		"an empty place":   {"a\n" + begin + "\n" + end + "\nb\n", "a\n" + begin + "\nnew\n" + end + "\nb\n"},
		"an older diagram": {begin + "\nold\nolder\n" + end, begin + "\nnew\n" + end},
		"no place":         {"a\n", ""},
		"no end":           {begin + "\na\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "README.md")
			require.NoError(t, os.WriteFile(file, []byte(x.before), 0o600))
			err := put(file, "new\n")
			text, read := os.ReadFile(file)
			require.NoError(t, read)
			if x.after == "" {
				require.ErrorContains(t, err, begin)
				require.Equal(t, x.before, string(text))
			} else {
				require.NoError(t, err)
				require.Equal(t, x.after, string(text))
			}
		})
	}
}
