package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"text/tabwriter"

	"github.com/chansec/chansec/rbac"
)

// demo sends requests and prints what comes back.
type demo struct {
	out    io.Writer
	base   string
	tokens map[string]string
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// send sends a request and prints the line with which curl would, and the answer.
func (d *demo) send(ctx context.Context, method, path, who, body string) error {
	line := "curl -i $URL" + path
	if method != http.MethodGet {
		line = "curl -i -X " + method + " $URL" + path
	}
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	if who != "" {
		line += ` -H "Authorization: Bearer $` + who + `"`
		req.Header.Set("Authorization", "Bearer "+d.tokens[who])
	}
	if body != "" {
		line += " -d '" + body + "'"
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	d.say("$ %s", line)
	d.say("%s", resp.Status)
	if c := resp.Header.Get("WWW-Authenticate"); c != "" {
		d.say("WWW-Authenticate: %s", c)
	}
	d.say("%s\n", strings.TrimSpace(string(text)))
	return err
}

// requests shows who gets in and who does not.
func (d *demo) requests(ctx context.Context) error {
	d.say("\n2. REQUESTS\n")
	for _, r := range []struct{ about, method, path, who, body string }{
		{"Who has no token gets nothing ...", http.MethodGet, "/users/bob", "", ""},
		{"... but what is open to all.", http.MethodGet, "/users/bob/greeting", "", ""},
		{"Alice is a user.", http.MethodGet, "/users/bob", "ALICE", ""},
		{"She may not delete anybody.", http.MethodDelete, "/users/bob", "ALICE", ""},
		{"Bob's token holds no role: he may not even read himself ...", http.MethodGet, "/users/bob", "BOB", ""},
		{"... but he is who he is, however the URL is escaped.", http.MethodPost, "/users/b%6fb/change_password", "BOB", "correct horse"},
		{"He is not Alice.", http.MethodPost, "/users/alice/change_password", "BOB", "correct horse"},
		{"An administrator may do that.", http.MethodPost, "/users/alice/change_password", "ADMIN", "correct horse"},
		{"And write names.", http.MethodPut, "/users/carla", "ADMIN", "Carla"},
		{"Nobody may do what no rule allows.", http.MethodPatch, "/users/bob", "ADMIN", "x"},
	} {
		d.say("%s", r.about)
		if err := d.send(ctx, r.method, r.path, r.who, r.body); err != nil {
			return err
		}
	}
	return nil
}

// columns shows the statuses of RFC 6750 beside those of AppKernel's own implementation.
func (d *demo) columns(tokens *rbac.Tokens) error {
	d.say("3. STATUSES OF RFC 6750 AND OF APPKERNEL\n")
	rfc, _, err := newUsers().handler(tokens)
	if err != nil {
		return err
	}
	original, _, err := newUsers().handler(tokens, rbac.OriginalStatus())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(d.out, 0, 0, 3, ' ', 0)
	for _, r := range []struct{ about, authorization string }{
		{"no header", ""},
		{"not a bearer token", "Basic Ym9iOmJvYg=="},
		{"a token that somebody changed", "Bearer " + d.tokens["ALICE"] + "A"},
		{"a token without the role", "Bearer " + d.tokens["BOB"]},
		{"a token with it", "Bearer " + d.tokens["ALICE"]},
	} {
		fmt.Fprint(table, r.about)
		for _, h := range []http.Handler{rfc, original} {
			req := httptest.NewRequest(http.MethodGet, "/users/bob", http.NoBody)
			if r.authorization != "" {
				req.Header.Set("Authorization", r.authorization)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			fmt.Fprintf(table, "\t%d", w.Code)
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// mistakes shows what is found before anything is served.
func (d *demo) mistakes(tokens *rbac.Tokens) error {
	d.say("\n4. MISTAKES THAT ARE FOUND AT START-UP\n")
	_, err := rbac.NewService(tokens, rules().Require(rbac.Role("denied"), "PATCH").Deny())
	d.say("%v\n", err)

	service, err := rbac.NewService(tokens, new(rbac.Rules).Require(rbac.Role("user"), "GET"))
	if err != nil {
		return err
	}
	var mux rbac.Mux
	mux.Handle("GET /users", service, http.NotFoundHandler())
	mux.Handle("DELETE /users/{object_id}", service, http.NotFoundHandler())
	mux.HandleAction("POST /users/{object_id}/chnage_password", service, "chnage_password", http.NotFoundHandler())
	_, err = mux.Handler()
	d.say("%v", err)
	return nil
}
