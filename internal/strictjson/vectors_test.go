package strictjson

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJSONTestSuite(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/JSONTestSuite/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)

	// What RFC 8259 leaves open is refused, for one of these reasons, where
	// two readers could see two values. The one text left over is nested
	// 500 deep, which is more than the default.
	open := []Reason{NumberRange, LoneSurrogate, BadUTF8, BadValue, TooDeep}

	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			text := string(data)
			err = Valid(text, Limits{})
			_, objectErr := Object(text, nil, Limits{})
			switch {
			case strings.Contains(name, "duplicated_key"):
				requireReason(t, DuplicateName, err)
				requireReason(t, DuplicateName, objectErr)
			case strings.HasPrefix(name, "y_"):
				require.NoError(t, err)
				if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
					require.NoError(t, objectErr)
				} else {
					requireReason(t, NotObject, objectErr)
				}
			case strings.HasPrefix(name, "n_"):
				require.Error(t, err)
				require.Error(t, objectErr)
			case strings.HasPrefix(name, "i_"):
				var syntax *SyntaxError
				require.ErrorAs(t, err, &syntax)
				require.Contains(t, open, syntax.Reason)
				require.Error(t, objectErr)
			default:
				t.Fatal("no verdict in the file name")
			}
		})
	}
}

func requireReason(t *testing.T, want Reason, err error) {
	t.Helper()
	var syntax *SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Equal(t, want, syntax.Reason)
}

func reasonOf(err error) Reason {
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		return syntax.Reason
	}
	return ""
}
