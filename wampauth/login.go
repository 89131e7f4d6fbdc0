package wampauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// The methods.
const (
	methodCRA    = "wampcra"
	methodTicket = "ticket"
)

// authRole is that of every session: what they may do is the policy's to say, by the login.
const authRole = "user"

// maxTicket is how long a ticket may be; that it is short enough for who reads it is theirs to say.
const maxTicket = 64 << 10

// cra is the method wampcra (sqlauth.md 8).
type cra struct{ guard *Guard }

func (c cra) AuthMethod() string {
	c.guard.asked.Add(1)
	return methodCRA
}

// Authenticate challenges a client and lets it in if it proves the secret of its authid. Whether there is such a login makes no
// difference to anything that it sees.
func (c cra) Authenticate(id wamp.ID, details wamp.Dict, client wamp.Peer) (*wamp.Welcome, error) {
	g := c.guard
	login, _ := wamp.AsString(details["authid"])
	if !isLogin(login) {
		return nil, g.refuse("", details, ErrLogin, nil)
	}
	return g.admit(login, details, client, func(ctx context.Context) (*member, error) {
		key, err := g.key(ctx, login)
		if err != nil {
			return nil, err
		}
		nonce := make([]byte, 32)
		rand.Read(nonce) // it never fails
		text, err := json.Marshal(struct {
			AuthID       string `json:"authid"`
			AuthRole     string `json:"authrole"`
			AuthMethod   string `json:"authmethod"`
			AuthProvider string `json:"authprovider"`
			Session      uint64 `json:"session"`
			Nonce        string `json:"nonce"`
			Timestamp    string `json:"timestamp"`
		}{login, authRole, methodCRA, g.config.Provider, uint64(id), base64.StdEncoding.EncodeToString(nonce), time.Now().UTC().Format(time.RFC3339Nano)})
		if err != nil {
			return nil, err
		}
		answer, err := g.challenge(client, methodCRA, wamp.Dict{
			"challenge": string(text), "salt": key.Salt, "iterations": key.Iterations, "keylen": key.KeyLength,
		})
		if err != nil {
			return nil, err
		}
		mac := hmac.New(sha256.New, key.Key)
		mac.Write(text)
		if signature, err := base64.StdEncoding.DecodeString(answer); err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
			return nil, ErrLogin
		}
		remote, _ := address(details)
		m := newMember(id, details, chansec.Principal{SystemID: login, Proof: ProofCRA}, nil, remote)
		return m, g.enter(ctx, m, func() error {
			again, err := g.key(ctx, login) // the login may have been deleted, or have another secret, meanwhile
			if err == nil && !hmac.Equal(again.Key, key.Key) {
				err = ErrLogin
			}
			return err
		})
	})
}

// key looks up a key that can be used.
func (g *Guard) key(ctx context.Context, login string) (Key, error) {
	key, err := g.config.Keys.Key(ctx, login)
	if err == nil {
		err = key.check()
	}
	return key, err
}

// ticket is the method ticket: a token of chansec.
type ticket struct{ guard *Guard }

func (t ticket) AuthMethod() string {
	t.guard.asked.Add(1)
	return methodTicket
}

// Authenticate asks a client for its token and lets it in as its subject, which the authid must be if there is one.
func (t ticket) Authenticate(id wamp.ID, details wamp.Dict, client wamp.Peer) (*wamp.Welcome, error) {
	g := t.guard
	login, _ := wamp.AsString(details["authid"])
	return g.admit("", details, client, func(ctx context.Context) (*member, error) {
		token, err := g.challenge(client, methodTicket, wamp.Dict{})
		if err != nil {
			return nil, err
		}
		p, err := g.config.Tickets.Authenticate(ctx, token)
		switch {
		case errors.Is(err, chansec.ErrUnauthenticated), errors.Is(err, chansec.ErrExpired), errors.Is(err, chansec.ErrRevoked):
			return nil, errors.Join(ErrLogin, err)
		case err != nil:
			return nil, err
		case p.Proof == chansec.ProofNone, chansec.CheckSystemID(p.SystemID) != nil, len(p.SystemID) > MaxName, login != "" && login != p.SystemID:
			return nil, ErrLogin
		}
		remote, _ := address(details)
		m := newMember(id, details, p, chansec.StaticCaller(p), remote)
		return m, g.enter(ctx, m, func() error {
			if err := g.alive(m); err != nil {
				return errors.Join(ErrLogin, err)
			}
			return nil
		})
	})
}

// admit bounds what a login may take and how often it may be tried, and makes its answer. An empty name is not counted.
func (g *Guard) admit(login string, details wamp.Dict, client wamp.Peer, try func(context.Context) (*member, error)) (*wamp.Welcome, error) {
	peer, ok := client.(*copied)
	if !ok {
		g.complain("nobody is let in", invalid("router of the transport", "", "that of CopyEvents"))
		return nil, ErrUnavailable
	}
	_, from := address(details)
	if err := g.begin(from); err != nil {
		return nil, err
	}
	defer g.finish(from)
	now := time.Now()
	if from != "" && !g.addresses.take(from, now) {
		return nil, g.refuse(login, details, ErrAttempts, nil)
	}
	if login != "" && !g.logins.take(login, now) {
		return nil, g.refuse(login, details, ErrAttempts, nil)
	}
	ctx, cancel := context.WithTimeout(g.ctx, g.config.Timeout)
	defer cancel()
	m, err := try(ctx)
	if err != nil {
		for _, known := range []error{ErrLogin, ErrSessions, ErrUnavailable} {
			if errors.Is(err, known) {
				return nil, g.refuse(login, details, known, err)
			}
		}
		return nil, g.refuse(login, details, ErrUnavailable, err)
	}
	if from != "" {
		g.addresses.giveBack(from)
	}
	if login != "" {
		g.logins.giveBack(login)
	}
	peer.in.Store(true)
	method := methodCRA
	if m.caller != nil {
		method = methodTicket
	}
	return &wamp.Welcome{Details: wamp.Dict{
		"authid": m.principal.SystemID, "authrole": authRole, "authmethod": method, "authprovider": g.config.Provider,
	}}, nil
}

// begin takes a place for a login, by address.
func (g *Guard) begin(from string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.open.Load():
		return ErrUnavailable
	case !g.guardsOneRealm():
		g.complain("nobody is let in", invalid("router", "", "one realm of the configuration that the guard protects"))
		return ErrUnavailable
	case g.underWay >= g.config.MaxLogins || from != "" && g.from[from] >= g.config.MaxLoginsPerAddress:
		return ErrSessions
	}
	g.underWay++
	g.from[from]++
	return nil
}

// finish gives that place back.
func (g *Guard) finish(from string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.underWay--
	if g.from[from]--; g.from[from] == 0 {
		delete(g.from, from)
	}
}

// loggingIn reports whether a login is under way.
func (g *Guard) loggingIn() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.underWay > 0
}

// refuse records that a login was refused, and returns what the client is told. The cause is logged where it is nobody's fault
// but ours.
func (g *Guard) refuse(login string, details wamp.Dict, told, cause error) error {
	r := audit.Record{Time: time.Now(), Kind: audit.KindSession, Operation: audit.OpLogin, Target: login, Reason: told.Error()}
	r.Remote, _ = address(details)
	if told == ErrUnavailable {
		r.Outcome = chansec.Undecided
		g.complain("nobody could decide on a login", cause)
	}
	g.recordLogin(nil, &r)
	return told
}

// challenge sends a challenge and returns the client's answer. Each is answered once, and in time.
func (g *Guard) challenge(client wamp.Peer, method string, extra wamp.Dict) (string, error) {
	select {
	case client.Send() <- &wamp.Challenge{AuthMethod: method, Extra: extra}:
	default:
		return "", ErrLogin
	}
	late := time.NewTimer(g.config.Timeout)
	defer late.Stop()
	select {
	case msg := <-client.Recv():
		if answer, ok := msg.(*wamp.Authenticate); ok && len(answer.Signature) <= maxTicket {
			return answer.Signature, nil
		}
	case <-late.C:
	case <-g.ctx.Done():
	}
	return "", ErrLogin
}
