package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
)

// Bounds of the rounds that a router may ask for. With fewer, or without a salt, whoever pretends to be the router could try out
// secrets quickly; more would keep this program busy for minutes.
const (
	leastRounds = 1_000
	mostRounds  = 10_000_000
)

// router is an administrator behind a WAMP router, and a user of that router.
type router struct {
	client *client.Client
	base   string
}

var _ administrator = (*router)(nil)

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// dialRouter logs in to a router by WAMP-CRA (sqlauth.md 8).
func dialRouter(ctx context.Context, u *url.URL, t *target, secret string) (*router, error) {
	var challenged error
	answered := false
	config := client.Config{
		Realm:        t.realm,
		HelloDetails: wamp.Dict{"authid": t.user},
		Logger:       log.New(io.Discard, "", 0),
		AuthHandlers: map[string]client.AuthFunc{"wampcra": func(c *wamp.Challenge) (string, wamp.Dict) {
			salt, _ := wamp.AsString(c.Extra["salt"])
			rounds, ok := wamp.AsInt64(c.Extra["iterations"])
			length, long := wamp.AsInt64(c.Extra["keylen"])
			if salt == "" || ok && (rounds < leastRounds || rounds > mostRounds) || long && (length < 16 || length > 64) {
				challenged = errors.New("the challenge of the router is not one that a secret should be used with")
				return "", nil
			}
			answered = true
			return crsign.RespondChallenge(secret, c, nil), nil
		}},
	}
	if u.Scheme == "wss" {
		config.TlsCfg = &tls.Config{MinVersion: tls.VersionTLS12}
		if t.ca != "" {
			text, err := os.ReadFile(t.ca)
			if err != nil {
				return nil, err
			}
			config.TlsCfg.RootCAs = x509.NewCertPool()
			if !config.TlsCfg.RootCAs.AppendCertsFromPEM(text) {
				return nil, fmt.Errorf("%s: there is no certificate in it", quoted(t.ca))
			}
		}
	}
	c, err := client.ConnectNet(ctx, u.String(), config)
	switch {
	case challenged != nil:
		return nil, challenged
	case err != nil && answered && ctx.Err() == nil:
		return nil, &refusal{"not-authorized", "the router refused the login: " + strings.TrimPrefix(err.Error(), "wampauth: ")}
	case err != nil:
		return nil, fmt.Errorf("router %s: %w", quoted(u.String()), err)
	}
	return &router{c, t.base}, nil
}

func (r *router) Close() error { return r.client.Close() }

// Do calls a procedure of the administration, or does what a user of the router does.
func (r *router) Do(ctx context.Context, operation string, arguments json.RawMessage) (json.RawMessage, error) {
	members, err := jsonObject(arguments)
	if err != nil {
		return nil, err
	}
	list, _ := wamp.AsList(normal(members["args"]))
	keywords, _ := wamp.AsDict(normal(members["kwargs"]))
	switch operation {
	case "router.call":
		procedure, _ := members["procedure"].(string)
		result, err := r.client.Call(ctx, procedure, nil, list, keywords, nil)
		if err != nil {
			return nil, r.refused(err)
		}
		return json.Marshal(struct {
			Args   wamp.List `json:"args"`
			Kwargs wamp.Dict `json:"kwargs"`
		}{append(wamp.List{}, result.Arguments...), wamp.NormalizeDict(result.ArgumentsKw)})
	case "router.publish":
		topic, _ := members["topic"].(string)
		if err := r.client.Publish(topic, wamp.Dict{wamp.OptAcknowledge: true}, list, keywords); err != nil {
			return nil, r.refused(err)
		}
		return nil, nil
	}
	result, err := r.client.Call(ctx, r.base+"."+operation, nil, nil, wamp.Dict{"arguments": normal(members)}, nil)
	if err != nil {
		return nil, r.refused(err)
	}
	if len(result.Arguments) == 0 {
		return nil, nil
	}
	return json.Marshal(result.Arguments[0])
}

// normal makes what was read from JSON into what the router's encodings take: numbers are int64 or float64.
func normal(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		list := wamp.List{}
		for _, item := range v {
			list = append(list, normal(item))
		}
		return list
	case map[string]any:
		dict := wamp.Dict{}
		for k, item := range v {
			dict[k] = normal(item)
		}
		return dict
	}
	return v
}

// refused says why the router, or the administration behind it, did not do something.
func (r *router) refused(err error) error {
	var answer client.RPCError
	switch {
	case errors.As(err, &answer) && answer.Err != nil:
		var text string
		if len(answer.Err.Arguments) > 0 {
			text, _ = wamp.AsString(answer.Err.Arguments[0])
		}
		uri := string(answer.Err.Error)
		switch answer.Err.Error {
		case wamp.ErrNotAuthorized:
			return newRefusal("not-authorized", cmp.Or(text, "you may not call "+answer.Procedure))
		case wamp.ErrNoSuchProcedure:
			return &refusal{"not-found", "no such procedure is registered"}
		}
		if name, ok := strings.CutPrefix(uri, r.base+".error."); ok {
			uri = name
		}
		return newRefusal(uri, text)
	case strings.Contains(err.Error(), string(wamp.ErrNotAuthorized)):
		return &refusal{"not-authorized", "you may not publish that"}
	}
	return err
}
