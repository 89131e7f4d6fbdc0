package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"
)

// config is the one file of chansec serve. Secrets are in files of their own, or in the environment.
type config struct {
	Database     string        `yaml:"database"`     // a file of SQLite, or postgres://...
	SealingKeys  []string      `yaml:"sealing_keys"` // the files of what users are sealed with; the first seals
	Node         string        `yaml:"node"`
	MaxStaleness time.Duration `yaml:"max_staleness"`
	Activity     struct {
		Required bool `yaml:"required"`
	} `yaml:"activity"`
	TLS struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
	} `yaml:"tls"`
	Insecure bool        `yaml:"insecure"` // other machines may connect without encryption
	WAMP     *wampConfig `yaml:"wamp"`
	HTTP     *httpConfig `yaml:"http"`
}

// wampConfig is of the router.
type wampConfig struct {
	Listen  string   `yaml:"listen"`
	Path    string   `yaml:"path"`
	Realm   string   `yaml:"realm"`
	Base    string   `yaml:"base"`
	Origins []string `yaml:"origins"` // of web pages that may connect
	Tickets bool     `yaml:"tickets"` // tokens of http.key let in, too
}

// httpConfig is of the channels over HTTP.
type httpConfig struct {
	Listen   string          `yaml:"listen"`
	Key      string          `yaml:"key"` // the file of the key of tokens
	Issuer   string          `yaml:"issuer"`
	Audience string          `yaml:"audience"`
	Channels []channelConfig `yaml:"channels"`
}

// channelConfig is of one channel. Its ID is the topic that the policy decides on.
type channelConfig struct {
	ID   string `yaml:"id"`
	Kind string `yaml:"kind"`
}

var channelKinds = []string{"broadcast", "queue", "mailbox"}

// loadConfig reads the file of chansec serve.
func (p *program) loadConfig(ctx context.Context, file string) (config, error) {
	var c config
	text, err := p.readFile(ctx, file, 1<<20)
	if err != nil {
		return c, err
	}
	if err := decodeStrict(file, text, &c); err != nil {
		return c, err
	}
	if problems := c.complete(); len(problems) > 0 {
		var all []error
		for _, problem := range problems {
			all = append(all, errors.New(visible(file)+": "+problem))
		}
		return c, errors.Join(all...)
	}
	return c, nil
}

// complete puts in what was left out, and returns what is wrong.
func (c *config) complete() (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if c.Database == "" {
		wrong("database is missing: a file, or postgres://...")
	} else if err := checkAddress(c.Database); err != nil {
		wrong("%s", err)
	}
	for i, file := range c.SealingKeys {
		if file == "" {
			wrong("sealing_keys: the name of number %d is empty", i+1)
		}
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		wrong("tls needs both certificate and key")
	}
	if c.MaxStaleness < 0 {
		wrong("max_staleness %s: want a time such as 30s", c.MaxStaleness)
	}
	if c.WAMP == nil && c.HTTP == nil {
		wrong("there is neither wamp nor http: nothing to serve")
	}
	listen := func(what, address string) {
		host, _, err := net.SplitHostPort(address)
		switch {
		case err != nil:
			wrong("%s.listen %s: want HOST:PORT, such as 127.0.0.1:8080", what, quoted(address))
		case c.TLS.Certificate == "" && !c.Insecure && !loopback(host):
			wrong("%s.listen %s: other machines can reach it, and nothing is encrypted: set tls, or insecure: true", what, quoted(address))
		}
	}
	if w := c.WAMP; w != nil {
		w.Path, w.Realm, w.Base = cmp.Or(w.Path, "/ws"), cmp.Or(w.Realm, defaultRealm), cmp.Or(w.Base, defaultBase)
		listen("wamp", w.Listen)
		if !strings.HasPrefix(w.Path, "/") || path.Clean(w.Path) != w.Path || strings.ContainsAny(w.Path, "{} \t") { // of a pattern of net/http
			wrong("wamp.path %s: want a path such as /ws", quoted(w.Path))
		}
		if w.Tickets && c.HTTP == nil {
			wrong("wamp.tickets needs http, whose key the tokens are verified with")
		}
	}
	if h := c.HTTP; h != nil {
		listen("http", h.Listen)
		if h.Key == "" {
			wrong("http.key is missing: make one with chansec key new")
		}
		if len(h.Channels) == 0 {
			wrong("http.channels is empty: nothing to serve")
		}
		for i, ch := range h.Channels {
			if ch.ID == "" {
				wrong("http.channels: the id of number %d is missing", i+1)
			}
			if !slices.Contains(channelKinds, ch.Kind) {
				wrong("http.channels: kind %s: want one of %s", quoted(ch.Kind), strings.Join(channelKinds, ", "))
			}
		}
	}
	return problems
}
