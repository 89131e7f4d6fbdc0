// Command bench compares chansec with floors (the least code that could do a part of the work) and with libraries
// that do similar work. The contenders of a row run in interleaved rounds in one process, each one's answers are
// checked before it is timed, and a wrong answer ends the run.
//
//	go run . -rounds 7 -md
//
// The same cases are ordinary benchmarks: go test -bench .
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

func main() {
	testing.Init() // before the flags are parsed: it defines test.benchtime
	var (
		rounds = flag.Int("rounds", 7, "how often each contender is timed")
		run    = flag.String("run", ".", "only contenders whose row/name matches this regular expression")
		d      = flag.Duration("time", 500*time.Millisecond, "how long a contender's round takes, about")
		md     = flag.Bool("md", false, "print Markdown")
		list   = flag.Bool("list", false, "list the contenders and stop")
	)
	flag.Parse()
	if err := mainErr(*rounds, *run, *d, *md, *list); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func mainErr(rounds int, run string, d time.Duration, md, list bool) error {
	sel, err := regexp.Compile(run)
	if err != nil {
		return err
	}
	if rounds < 1 || d <= 0 {
		return fmt.Errorf("-rounds and -time must be positive")
	}
	if list {
		for _, f := range families {
			for _, c := range f.contenders(fullScale) {
				fmt.Println(c.id())
			}
		}
		return nil
	}
	printFacts(os.Stdout, md)
	logf := func(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
	for _, f := range families {
		var lines []*line
		for _, g := range f.groups(fullScale) {
			more, err := compare(g, sel, rounds, d, logf)
			if err != nil {
				return err
			}
			lines = append(lines, more...)
		}
		if len(lines) > 0 {
			printTable(os.Stdout, f.name, lines, md)
		}
	}
	return nil
}

func setBenchtime(s string) error { return flag.Set("test.benchtime", s) }

// The modules that are compared; their versions are printed.
var compared = []string{
	"github.com/casbin/casbin/v2", "github.com/cedar-policy/cedar-go", "github.com/golang-jwt/jwt/v5",
	"github.com/lestrrat-go/jwx/v3", "github.com/ThreeDotsLabs/watermill", "github.com/nats-io/nats-server/v2",
	"github.com/nats-io/nats.go", "github.com/dunglas/mercure", "github.com/open-policy-agent/opa", "cel.dev/cel-go",
	"github.com/expr-lang/expr", "github.com/dop251/goja",
}

func printFacts(w io.Writer, md bool) {
	facts := [][2]string{
		{"command", strings.Join(append([]string{"go run ."}, os.Args[1:]...), " ")},
		{"date", time.Now().UTC().Format("2006-01-02 15:04 MST")},
		{"go", runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
		{"cpu", fmt.Sprintf("%s, %d cores, GOMAXPROCS %d", cpuModel(), runtime.NumCPU(), runtime.GOMAXPROCS(0))},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		var mods []string
		for _, m := range info.Deps {
			if slices.Contains(compared, m.Path) {
				mods = append(mods, m.Path+" "+m.Version)
			}
		}
		facts = append(facts, [2]string{"peers", strings.Join(mods, ", ")})
	}
	for _, f := range facts {
		if md {
			fmt.Fprintf(w, "- %s: %s\n", f[0], f[1])
		} else {
			fmt.Fprintf(w, "%s: %s\n", f[0], f[1])
		}
	}
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, _ := strings.Cut(s.Text(), ":"); strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown CPU"
}

var head = []string{"row", "contender", "median", "min", "x floor, median", "x floor, min", "cpu", "allocs/op", "B/op", "also"}

// printTable prints one family: rows in order, and in each the floor first.
func printTable(w io.Writer, name string, lines []*line, md bool) {
	print := func(cells []string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	if md {
		fmt.Fprintf(w, "\n### %s\n\n", name)
		print = func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	} else {
		fmt.Fprintf(w, "\n%s\n", name)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		defer t.Flush()
		w = t
	}
	print(head)
	if md {
		fmt.Fprintln(w, strings.Repeat("|---", len(head))+"|")
	}
	for i, l := range lines {
		median, least := l.stat(func(s sample) float64 { return s.ns })
		allocs, _ := l.stat(func(s sample) float64 { return float64(s.allocs) })
		bytes, _ := l.stat(func(s sample) float64 { return float64(s.bytes) })
		row := l.row
		if i > 0 && lines[i-1].row == row {
			row = ""
		}
		var overMedian, overLeast, cpu string
		if f := floorOf(lines, l.row); f != nil {
			fm, fl := f.stat(func(s sample) float64 { return s.ns })
			overMedian, overLeast = fmt.Sprintf("%.2f", median/fm), fmt.Sprintf("%.2f", least/fl)
		}
		if c, _ := l.stat(func(s sample) float64 { return s.cpu }); c > 0 {
			cpu = duration(c)
		}
		var also []string
		for unit := range l.samples[0].extra {
			if unit == "ns/op" {
				continue
			}
			v, _ := l.stat(func(s sample) float64 { return s.extra[unit] })
			name, isTime := strings.CutSuffix(unit, "-ns")
			if isTime {
				also = append(also, strings.ReplaceAll(name, "-", " ")+" "+duration(v))
			} else {
				also = append(also, fmt.Sprintf("%s %.3g", unit, v))
			}
		}
		slices.Sort(also)
		print([]string{row, l.name, duration(median), duration(least), overMedian, overLeast, cpu,
			fmt.Sprintf("%.0f", allocs), fmt.Sprintf("%.0f", bytes), strings.Join(also, ", ")})
	}
}

func floorOf(lines []*line, row string) *line {
	for _, l := range lines {
		if l.row == row && l.floor {
			return l
		}
	}
	return nil
}

// duration writes nanoseconds with three digits.
func duration(ns float64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%.3g ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.3g us", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	}
	return fmt.Sprintf("%.3g s", ns/1e9)
}
