package chansectest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/driver"
)

// TestSuitesFailTheTest runs itself again with securities and backends that are broken on purpose.
func TestSuitesFailTheTest(t *testing.T) {
	const name = "CHANSECTEST_BROKEN"
	switch os.Getenv(name) {
	case "security":
		TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity { return chansec.OpenSecurity{} }, Expectations{})
		return
	case "expectations":
		TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity { return chansec.OpenSecurity{} }, Expectations{Tokens: []Token{{Name: "k"}}})
		return
	case "nothing":
		TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity { return nil }, Expectations{})
		return
	case "revocations":
		TestRevocations(t, func(*testing.T) func() chansec.RevocationBackend {
			return func() chansec.RevocationBackend { return chansec.NewMemoryRevocations() }
		}, Skip("security", "to see what is skipped"))
		return
	case "driver":
		TestDriver(t, func(t *testing.T, cfg driver.Config) driver.Backend[[]byte] {
			return newFaulty(t, cfg, func(f *faulty) { f.cfg.MaxMessages++ })
		}, Skip("full", "to see what is skipped"), ShortestClaim(30*time.Millisecond))
		return
	}
	for _, tt := range []struct {
		name string
		want []string
		not  []string
	}{
		{"security", []string{
			"--- FAIL: TestSuitesFailTheTest/names",
			`AuthorizeRead("chansectest stranger 4b1d", "chansectest/channel") = true`,
			"The rule: AuthorizeRead, AuthorizeWrite and AuthorizeAdmin say yes to exactly",
			"--- FAIL: TestSuitesFailTheTest/token_requests",
		}, nil},
		{"expectations", []string{"expectations: token k has no Make"}, []string{"names"}},
		{"nothing", []string{"newSecurity returned nil"}, nil},
		{"revocations", []string{"--- FAIL: TestSuitesFailTheTest/append", "--- SKIP: TestSuitesFailTheTest/security", "to see what is skipped",
			"The rule: When Append returns, every backend of the storage yields"}, []string{"FAIL: TestSuitesFailTheTest/empty"}},
		{"driver", []string{"--- FAIL: TestSuitesFailTheTest/retention", "at most 1 may be", "--- SKIP: TestSuitesFailTheTest/full", "to see what is skipped"},
			[]string{"FAIL: TestSuitesFailTheTest/append"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := exec.Command(os.Args[0], "-test.run=^TestSuitesFailTheTest$", "-test.v")
			c.Env = append(os.Environ(), name+"="+tt.name)
			out, err := c.CombinedOutput()
			require.Error(t, err, "the test passes")
			for _, text := range tt.want {
				require.Contains(t, string(out), text)
			}
			for _, text := range tt.not {
				require.NotContains(t, string(out), text)
			}
		})
	}
}

func TestReport(t *testing.T) {
	x := &trial{T: t, options: newOptions(nil)}
	require.Empty(t, x.report("why"))
	x.wrong("one %s", "thing")
	x.wrong("one thing")
	require.Equal(t, "one thing\nThe rule: why", x.report("why"), "the same is printed once")
	for i := range 20 {
		x.wrong("thing %d", i)
	}
	require.Len(t, strings.Split(x.report("why"), "\n"), mostProblems+2)
	require.Contains(t, x.report("why"), "and 11 more")
}

func TestACheckThatPanicsIsNotTakenForOneThatStops(t *testing.T) {
	x := &trial{T: t, options: newOptions(nil)}
	x.do(func() { x.stop("enough"); t.Error("it went on") })
	require.Equal(t, []string{"enough"}, x.problems)
	require.PanicsWithValue(t, "a mistake", func() { x.do(func() { panic("a mistake") }) })
}

func TestRulesHaveNamesOfTheirOwn(t *testing.T) {
	seen := make(map[string]bool)
	check := func(suite, name, why string) {
		require.NotEmpty(t, why, name)
		require.False(t, seen[fmt.Sprint(suite, name)], "there are two rules %q", name)
		seen[fmt.Sprint(suite, name)] = true
	}
	for _, r := range securityRules {
		check("security ", r.name, r.why)
	}
	for _, r := range driverRules {
		check("driver ", r.name, r.why)
	}
	for _, r := range revocationRules {
		check("revocation ", r.name, r.why)
	}
}
