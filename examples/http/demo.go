package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/chansec/chansec"
)

// demo sends requests and prints what comes back.
type demo struct {
	out     io.Writer
	base    string
	service *service
	tokens  map[string]string
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// open sends a request and prints the line with which curl would, and the answer's status and challenge.
func (d *demo) open(ctx context.Context, method, path, who, body string) (*http.Response, error) {
	line := "curl -i $URL" + path
	if method != http.MethodGet {
		line = "curl -i -X " + method + " $URL" + path
	}
	if who != "" {
		line += ` -H "Authorization: Bearer $` + who + `"`
	}
	if body != "" {
		line += " -d '" + body + "'"
	}
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+d.tokens[who])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	d.say("$ %s", line)
	d.say("%s", resp.Status)
	if c := resp.Header.Get("WWW-Authenticate"); c != "" {
		d.say("WWW-Authenticate: %s", c)
	}
	return resp, nil
}

// send is open for an answer that ends.
func (d *demo) send(ctx context.Context, method, path, who, body string) error {
	resp, err := d.open(ctx, method, path, who, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	d.say("%s\n", text)
	return err
}

// requests shows single requests: what is done, what is refused, and that a refusal tells nothing.
func (d *demo) requests(ctx context.Context) error {
	d.say("1. REQUESTS\n")
	for _, r := range []struct{ about, method, path, who, body string }{
		{"Who has no token gets nothing.", http.MethodGet, "/channels/readings", "", ""},
		{"The sensor writes a reading.", http.MethodPut, "/channels/readings", "SENSOR", `{"celsius": 21.5}`},
		{"The dashboard reads it.", http.MethodGet, "/channels/readings", "DASHBOARD", ""},
		{"It may not write.", http.MethodPut, "/channels/readings", "DASHBOARD", `{"celsius": 99}`},
		{"A channel that it may not use ...", http.MethodGet, "/channels/jobs", "DASHBOARD", ""},
		{"... looks like one that does not exist.", http.MethodGet, "/channels/secrets", "DASHBOARD", ""},
		{"Only who might use it is told.", http.MethodGet, "/channels/secrets", "ADMIN", ""},
		{"What makes no sense is refused, with the reason.", http.MethodPut, "/channels/readings", "SENSOR", `{"celsius": 1, "celsius": 2}`},
		{"An administrator has tokens made that reach no further than its own.", http.MethodPost, "/tokens", "ADMIN", `{"role": "read", "channels": ["jobs"], "expires_in": 60}`},
	} {
		d.say("%s", r.about)
		if err := d.send(ctx, r.method, r.path, r.who, r.body); err != nil {
			return err
		}
	}
	return nil
}

// stream shows a subscription that a revocation ends.
func (d *demo) stream(ctx context.Context) error {
	d.say("2. A LIVE SUBSCRIPTION\n")
	resp, err := d.open(ctx, http.MethodGet, "/channels/readings/events", "DASHBOARD", "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := d.service.readings.As("sensor").Write(ctx, reading{22}); err != nil {
		return err
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		d.say("%s", lines.Text())
		if strings.Contains(lines.Text(), `"celsius":22`) { // it has arrived: now its right to the next one ends
			if err := d.service.security.RevokeSubject("dashboard", time.Now()); err != nil {
				return err
			}
			if _, err := d.service.readings.As("sensor").Write(ctx, reading{23}); err != nil {
				return err
			}
		}
	}
	d.say("The dashboard's tokens were revoked after 22. What was written then never reached it.\n")
	return lines.Err()
}

// work does jobs. It does not know whether their channel is in this process.
func work(ctx context.Context, out io.Writer, port chansec.WorkQueuePort[string]) error {
	if _, err := port.Write(ctx, "paint the door"); err != nil {
		return err
	}
	claim, err := port.ClaimNext(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s has %q, attempt %d\n", claim.Message.SenderID, claim.Message.Content, claim.Attempt)
	if err := claim.Acknowledge(ctx); err != nil {
		return err
	}
	_, err = port.Clear(ctx)
	fmt.Fprintf(out, "acknowledged; may it clear the channel? %v\n", !errors.Is(err, chansec.ErrPermission))
	return nil
}

// ports shows that a remote channel's port is a port.
func (d *demo) ports(ctx context.Context) error {
	d.say("3. THE SAME CODE, HERE AND THERE\n\nIn this process:")
	if err := work(ctx, d.out, d.service.jobs.As("admin")); err != nil {
		return err
	}
	d.say("\nOver HTTP, with a token for one channel:")
	remote, err := chansec.Dial[string](chansec.ChannelURL(d.base, "jobs"), chansec.DialToken(d.tokens["WORKER"]))
	if err != nil {
		return err
	}
	defer remote.Close()
	return work(ctx, d.out, remote.WorkQueue())
}
