// Package jsclient runs WAMP clients that are not written in Go, autobahn and wampy, for tests. They are installed from the npm
// registry. Where that or Node.js is missing the tests are skipped and say so, unless CHANSEC_NODE_REQUIRED is 1: then they fail.
// With -short they are skipped in any case.
package jsclient

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed package.json package-lock.json client.mjs
var files embed.FS

// Kinds are the clients that there are.
var Kinds = []string{"autobahn", "wampy"}

// long is longer than anything takes here: autobahn derives a key for many seconds.
const long = 60 * time.Second

// Install installs the clients into a folder of the test, and returns it.
func Install(t testing.TB) (dir string) {
	t.Helper()
	missing := func(why ...any) {
		t.Helper()
		if os.Getenv("CHANSEC_NODE_REQUIRED") == "1" {
			t.Fatal(why...)
		}
		t.Skip(why...)
	}
	if testing.Short() {
		t.Skip("deriving keys takes them many seconds")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("there is no ", program, ": ", err)
		}
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		missing("the clients could not be installed: ", err, "\n", string(out))
	}
	return dir
}

// Client is a client in another process. It belongs to one goroutine.
type Client struct {
	t     testing.TB
	in    io.Writer
	said  chan map[string]any
	asked int
}

// Start starts a client of a kind, which logs in by WAMP-CRA; it ends with the test.
func Start(t testing.TB, dir, kind, url, realm, login, secret string) *Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // the test's own ends before the client is told to
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "client.mjs"), kind, url, realm, login)
	var complaints strings.Builder
	cmd.Dir, cmd.Stderr = dir, &complaints
	cmd.Env = append(os.Environ(), "SECRET="+secret)
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		cancel()
		t.Fatal(err)
	}
	c := &Client{t: t, in: in, said: make(chan map[string]any, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var said map[string]any
			if json.Unmarshal(lines.Bytes(), &said) == nil { // clients write warnings, too
				c.said <- said
			}
		}
	}()
	t.Cleanup(func() {
		defer cancel()
		_ = in.Close()
		<-read
		if err := cmd.Wait(); err != nil && !t.Failed() {
			t.Errorf("%s: %v: %s", kind, err, complaints.String())
		}
	})
	return c
}

// next is what the client says next.
func (c *Client) next() map[string]any {
	c.t.Helper()
	select {
	case said := <-c.said:
		return said
	case <-time.After(long):
		c.t.Fatal("the client says nothing")
		return nil
	}
}

// Hears waits for what the client says by itself: open (its login), event, called, or closed (why). Anything else fails the
// test.
func (c *Client) Hears(what string) any {
	c.t.Helper()
	said := c.next()
	v, is := said[what]
	if !is {
		c.t.Fatalf("the client says %v instead of %s", said, what)
	}
	return v
}

// Does has the client publish, subscribe, register or call a name, for a match or the empty text, with keyword arguments or the
// name as the only argument. It returns the result, or the name of the error.
func (c *Client) Does(do, name, match string, kwargs map[string]any) (result any, failed string) {
	c.t.Helper()
	c.asked++
	args := []string{name}
	if kwargs != nil {
		args = []string{}
	}
	ask, err := json.Marshal(map[string]any{"id": c.asked, "do": do, "name": name, "match": match, "args": args, "kwargs": kwargs})
	if err == nil {
		_, err = c.in.Write(append(ask, '\n'))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	said := c.next()
	if id, _ := said["id"].(float64); int(id) != c.asked {
		c.t.Fatalf("the client says %v instead of answering to %s", said, ask)
	}
	failed, _ = said["error"].(string)
	return said["result"], failed
}

// May requires that the client can do something.
func (c *Client) May(do, name, match string) {
	c.t.Helper()
	if _, failed := c.Does(do, name, match, nil); failed != "" {
		c.t.Fatalf("%s %s: %s", do, name, failed)
	}
}

// MayNot requires that the client is told that it may not.
func (c *Client) MayNot(do, name, match string) {
	c.t.Helper()
	if _, failed := c.Does(do, name, match, nil); failed != "wamp.error.not_authorized" {
		c.t.Fatalf("%s %s: %q", do, name, failed)
	}
}
