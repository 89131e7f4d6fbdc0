package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"chansec": main})
}

// Each script in testdata is one story, with what the command says word for word.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			return writeTrails(e.WorkDir)
		}})
}

// answer is what one run of the command line left.
type answer struct {
	status   int
	out, err string
}

// ran runs the command line in this process. The environment has the pairs NAME=value.
func ran(ctx context.Context, stdin string, env []string, args ...string) answer {
	var out, err bytes.Buffer
	status := run(ctx, args, strings.NewReader(stdin), &out, &err, func(name string) string {
		for _, pair := range env {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	})
	return answer{status, out.String(), err.String()}
}
