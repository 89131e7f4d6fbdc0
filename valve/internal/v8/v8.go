// Package v8 asks Node.js what its V8 makes of rules and regular expressions, for tests. Without Node.js they are skipped and say
// so, unless CHANSEC_NODE_REQUIRED is 1: then they fail.
package v8

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

//go:embed v8.mjs
var program string

// Engine is a process of Node.js. It belongs to one goroutine.
type Engine struct {
	t       testing.TB
	in      io.Writer
	answers *bufio.Reader
	end     func() error // and wait for it
}

// Start starts an engine, which ends with the test.
func Start(t testing.TB) *Engine {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("CHANSEC_NODE_REQUIRED") == "1" {
			t.Fatal("there is no node: ", err)
		}
		t.Skip("there is no node: ", err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // the test's own ends before the engine is told to
	cmd := exec.CommandContext(ctx, "node", "--input-type=module", "--eval", program)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		cancel()
		t.Fatal(err)
	}
	end := sync.OnceValue(func() error {
		defer cancel()
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("node: %w: %s", err, complaints.String())
		}
		return nil
	})
	t.Cleanup(func() {
		if err := end(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return &Engine{t: t, in: in, answers: bufio.NewReaderSize(out, 1<<20), end: end}
}

// Ask asks several questions, and reads as many answers.
func Ask[Q, A any](e *Engine, questions []Q) []A {
	e.t.Helper()
	line, err := json.Marshal(questions)
	if err == nil {
		_, err = e.in.Write(append(line, '\n'))
	}
	if err != nil {
		e.t.Fatal(err)
	}
	said, err := e.answers.ReadBytes('\n')
	if err != nil {
		e.t.Fatal("node says nothing: ", errors.Join(err, e.end()))
	}
	var answers []A
	if err := json.Unmarshal(said, &answers); err != nil || len(answers) != len(questions) {
		e.t.Fatalf("node says %.200q instead of %d answers: %v", said, len(questions), err)
	}
	return answers
}

// Rule asks whether a rule loads, and what it answers.
type Rule struct {
	Ask       string   `json:"ask"` // "rule"
	Text      string   `json:"text"`
	Kind      string   `json:"kind"`      // its type
	Variables []string `json:"variables"` // of its path
	Cases     []Case   `json:"cases"`
}

// Case is what a rule is asked about.
type Case struct {
	User      string            `json:"user"`
	UserData  string            `json:"userData"`       // JSON
	Data      string            `json:"data,omitempty"` // JSON; empty is none
	Path      *string           `json:"path,omitempty"` // of a patch
	Name      string            `json:"name"`
	Variables []string          `json:"variables"` // their values
	Action    int               `json:"action"`
	Now       int64             `json:"now"`
	Records   map[string]string `json:"records"` // JSON
	Plain     bool              `json:"-"`       // the data of the user goes through Go
}

// Verdict is what V8 made of a rule: a code of deepstream's if it does not load, or an outcome for each case.
type Verdict struct {
	Code  string
	Cases []Outcome
}

// Outcome is what a rule answered, or how it failed.
type Outcome struct {
	Error, Class  string
	Type          string
	Truthy        bool
	Literal, Text string // the result as a literal; what it becomes as a text
	Rounds        int
	Loads         []string
}

// Pattern asks what a regular expression finds in texts, in UTF-16.
type Pattern struct {
	Ask     string  `json:"ask"` // "regexp"
	Pattern []int   `json:"pattern"`
	Flags   string  `json:"flags"`
	From    int     `json:"from"`
	Texts   [][]int `json:"texts"`
}

// Matches is the beginnings and ends of groups in each text, or nil, unless the pattern is not valid.
type Matches struct {
	Code    string
	Matches [][]int
}

// Class asks which characters up to a last one a pattern matches alone.
type Class struct {
	Ask    string `json:"ask"` // "matched"
	Source string `json:"source"`
	Flags  string `json:"flags"`
	Last   int    `json:"last"`
}

// Ranges is the first and the last of each range of those, unless the pattern is not valid.
type Ranges struct {
	Code   string
	Ranges []int
}
