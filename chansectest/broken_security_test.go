package chansectest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// findings runs one rule and returns what it found wrong.
func findings(t *testing.T, name string, fresh func(*testing.T) chansec.ChannelSecurity, expect Expectations,
	open func(context.Context, int, string, chansec.ChannelSecurity) (*site, error)) []string {
	t.Helper()
	i := slices.IndexFunc(securityRules, func(r rule[*securityTrial]) bool { return r.name == name })
	require.NotEqual(t, -1, i, "there is no rule %q", name)
	x := &trial{T: t, options: newOptions([]Option{Patience(200 * time.Millisecond)})}
	securityRules[i].check(&securityTrial{x, fresh, expect, open})
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.problems)
}

// blind makes a security ContentBlind.
type blind struct{ *plain }

func (blind) ContentBlind() {}

// hinting says that every change was about somebody else.
type hinting struct{ *plain }

func (hinting) AffectedSince(uint64) []string { return []string{"somebody else"} }

func hintingExpectations() Expectations {
	e := plainExpectations()
	e.Tokens = nil
	e.Revocations = e.Revocations[:1]
	revoke := e.Revocations[0].Revoke
	e.Revocations[0].Revoke = func(s chansec.ChannelSecurity) error { return revoke(s.(hinting).plain) }
	return e
}

// TestEveryRuleFindsSecuritiesThatBreakIt breaks a correct security in one place at a time.
func TestEveryRuleFindsSecuritiesThatBreakIt(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	covered := make(map[string]bool)
	for _, tt := range []struct {
		rule   string
		name   string // what the security does wrong
		broken func(p *plain)
		want   string // part of what is found
	}{
		{"names", "lets strangers read", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				return role == chansec.RoleRead || p.holds(role, id, ch), nil
			}
		}, `AuthorizeRead("chansectest stranger`},
		{"names", "takes the highest role for every one", func(p *plain) {
			p.authorize = func(_ context.Context, _ chansec.Role, id, ch string) (bool, error) {
				return p.holds(chansec.RoleRead, id, ch), nil
			}
		}, `AuthorizeWrite("reader", "here") = true`},
		{"names", "denies what it should allow", func(p *plain) {
			p.authorize = func(context.Context, chansec.Role, string, string) (bool, error) { return false, nil }
			p.decide = func(context.Context, chansec.Request) (chansec.Decision, error) { return chansec.Decision{}, nil }
		}, `AuthorizeRead("reader", "here") = false`},
		{"names", "does not look at the channel", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, _ string) (bool, error) {
				return p.holds(role, id, here), nil
			}
		}, `AuthorizeRead("writer", "there") = true`},
		{"names", "denies by an error that says nothing", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				if !p.holds(role, id, ch) {
					return false, errors.New("no")
				}
				return true, nil
			}
		}, "could not decide"},
		{"names", "remembers that somebody asked", func(p *plain) {
			var asked sync.Map
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				_, again := asked.LoadOrStore(id+ch+string(role), true)
				return again || p.holds(role, id, ch), nil
			}
		}, `AuthorizeRead("chansectest stranger`},
		{"names", "panics", func(p *plain) {
			p.authorize = func(context.Context, chansec.Role, string, string) (bool, error) { panic("no") }
		}, "AuthorizeRead panicked: no"},

		{"ports", "lets anybody settle claims", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				if req.Operation == chansec.OpAcknowledge {
					return chansec.Decision{Allowed: true}, nil
				}
				return p.decides(req), nil
			}
		}, "As(a stranger) on a work queue: Acknowledge"},
		{"ports", "forgets that extending is reading", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				if req.Operation == chansec.OpExtend {
					return chansec.Decision{}, nil
				}
				return p.decides(req), nil
			}
		}, "As(reader) on a passthrough channel: Extend(\"here\") is denied"},
		{"ports", "cannot decide", func(p *plain) {
			p.decide = func(context.Context, chansec.Request) (chansec.Decision, error) {
				return chansec.Decision{}, errors.New("the database is away")
			}
		}, "could not be decided"},

		{"tokens", "proves another system", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				who := p.tokens[token]
				who.SystemID = "admin"
				return who, nil
			}
		}, `proves "admin", want "guest"`},
		{"tokens", "takes a token once", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				who, ok := p.tokens[token]
				delete(p.tokens, token)
				if !ok {
					return chansec.Principal{}, chansec.ErrUnauthenticated
				}
				return who, nil
			}
		}, "token is refused"},
		{"tokens", "forgets what the token is for", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				return chansec.Principal{SystemID: p.tokens[token].SystemID, Proof: "plain"}, nil
			}
		}, "the holder of the reading admin's token on a passthrough channel: Write"},

		{"bad tokens", "looks at the beginning only", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				for known, who := range p.tokens {
					if strings.HasPrefix(token, known) {
						return who, nil
					}
				}
				return chansec.Principal{}, chansec.ErrUnauthenticated
			}
		}, "token and more is taken"},
		{"bad tokens", "looks at the end not at all", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				for known, who := range p.tokens {
					if token != "" && strings.HasPrefix(known, token) {
						return who, nil
					}
				}
				return chansec.Principal{}, chansec.ErrUnauthenticated
			}
		}, "without its end is taken"},
		{"bad tokens", "has an error of its own", func(p *plain) {
			p.authenticate = func(context.Context, string) (chansec.Principal, error) {
				return chansec.Principal{}, errors.New("who?")
			}
		}, "is not ErrUnauthenticated"},
		{"bad tokens", "repeats the token", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				return chansec.Principal{}, fmt.Errorf("%w: %s", chansec.ErrUnauthenticated, token)
			}
		}, "the error contains the token"},
		{"bad tokens", "panics", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				_ = token[0]
				return chansec.Principal{}, chansec.ErrUnauthenticated
			}
		}, "Authenticate with the empty token panicked"},
		{"bad tokens", "returns a principal beside the error", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				return chansec.Principal{SystemID: "reader"}, chansec.ErrUnauthenticated
			}
		}, "a principal beside the error"},
		{"bad tokens", "takes an unlisted token for a name", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				return chansec.Principal{SystemID: token}, nil
			}
		}, "the made up token is taken"},

		{"strange names", "folds case", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				return p.holds(role, strings.ToLower(id), ch), nil
			}
		}, `AuthorizeRead("READER", "here") = true`},
		{"strange names", "trims", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				return p.holds(role, strings.TrimSpace(id), ch), nil
			}
		}, `AuthorizeRead("reader ", "here") = true`},
		{"strange names", "stops at a zero byte", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				id, _, _ = strings.Cut(id, "\x00")
				return p.holds(role, id, ch), nil
			}
		}, `AuthorizeRead("reader\x00", "here") = true`},
		{"strange names", "lets the empty name in", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				return id == "" || p.holds(role, id, ch), nil
			}
		}, `AuthorizeRead("", "here") = true`},
		{"strange names", "panics for the empty channel", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				_ = ch[0]
				return p.holds(role, id, ch), nil
			}
		}, "AuthorizeRead with a strange channel panicked"},
		{"strange names", "decides for a name that is nearly known", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				req.Principal.SystemID = strings.TrimSuffix(req.Principal.SystemID, "/")
				return p.decides(req), nil
			}
		}, `the port of "reader/"`},

		{"unknown operations", "lets an admin do whatever it is", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				return chansec.Decision{Allowed: req.Principal.SystemID == "admin"}, nil
			}
		}, `an unknown operation: "admin" may "publish"`},
		{"unknown operations", "believes the grant", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				return chansec.Decision{Allowed: req.Principal.Grant != nil && req.Operation.Role() != ""}, nil
			}
		}, "an unknown principal the operations of"},
		{"unknown operations", "lets the zero request pass", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				return chansec.Decision{Allowed: req.ChannelID == ""}, nil
			}
		}, "the zero request"},
		{"unknown operations", "says yes beside an error", func(p *plain) {
			p.decide = func(context.Context, chansec.Request) (chansec.Decision, error) {
				return chansec.Decision{Allowed: true}, errors.New("but")
			}
		}, "says yes and returns an error"},
		{"unknown operations", "panics", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				return chansec.Decision{Reason: req.Principal.Attributes["a"].(string)}, nil
			}
		}, "Decide panicked"},

		{"decide", "says yes by name where it depends on the message", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				return p.holds(role, id, ch), nil
			}
		}, `AuthorizeRead("limited", "here") = true, but Decide denies "read" of a message`},
		{"decide", "has an operation that is not of the class", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				if req.Operation == chansec.OpClear {
					return chansec.Decision{}, nil
				}
				return p.decides(req), nil
			}
		}, `AuthorizeAdmin("admin", "here") = true, but Decide denies "clear"`},

		{"contents", "does not say that the yes is for one message", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				d := p.decides(req)
				d.PerMessage = false
				return d, nil
			}
		}, "a yes is not PerMessage"},

		{"decorator", "refuses in Decide only", func(p *plain) {
			p.authorize = func(context.Context, chansec.Role, string, string) (bool, error) { return true, nil }
		}, "behind a decorator"},
		{"decorator", "looks at messages in Decide only", func(p *plain) {
			p.authorize = func(_ context.Context, role chansec.Role, id, ch string) (bool, error) {
				return p.holds(role, id, ch), nil
			}
		}, "reads foul"},
		{"decorator", "takes callers back in Decide only", func(p *plain) {
			revoked := make(map[string]bool)
			p.revoke = func(systemID, _ string, _ chansec.Role) { revoked[systemID] = true }
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				if revoked[req.Principal.SystemID] {
					return chansec.Decision{}, nil
				}
				return p.decides(req), nil
			}
		}, "behind a decorator, who held the guest's token"},

		{"revocation", "does nothing", func(p *plain) { p.revoke = func(string, string, chansec.Role) {} }, "Read on a passthrough channel is allowed by the port that was open"},
		{"revocation", "takes the higher role only", func(p *plain) {
			p.revoke = func(id, ch string, role chansec.Role) { p.take(id, ch, chansec.RoleAdmin); p.announce() }
		}, "after the revocation of a writer, Write on"},
		{"revocation", "keeps quiet about it", func(p *plain) { p.revoke = p.take }, "it did not end"},
		{"revocation", "closes the channel of Changed and keeps the version", func(p *plain) {
			p.versionIs = func() uint64 { return 1 }
		}, "it did not end"},
		{"revocation", "takes somebody else's right", func(p *plain) {
			p.revoke = func(id, ch string, role chansec.Role) {
				p.take(id, ch, role)
				for _, other := range []string{"writer", "admin", "reader", "guest"} {
					p.take(other, ch, chansec.RoleRead)
				}
				p.announce()
			}
		}, "somebody who may write cannot"},

		{"revocation while writing", "takes effect later", func(p *plain) {
			var left atomic.Int32
			left.Store(-1)
			p.revoke = func(string, string, chansec.Role) { left.Store(40) }
			p.versionIs = func() uint64 {
				if n := left.Load(); n > 0 {
					left.Add(-1)
				}
				if left.Load() == 0 {
					p.take("reader", here, chansec.RoleRead)
					return 1
				}
				return 0
			}
		}, "reached the lease"},
		{"revocation while writing", "never takes effect", func(p *plain) { p.revoke = p.take }, "did not end while messages were written"},

		{"versions", "announces what is not in force", func(p *plain) {
			p.revoke = func(id, ch string, role chansec.Role) {
				asked := make(chan struct{})
				var once sync.Once
				p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
					d := p.decides(req)
					if req.Principal.SystemID == id {
						once.Do(func() { close(asked) })
					}
					return d, nil
				}
				p.announce()
				<-asked
				p.take(id, ch, role)
			}
		}, "closes before the change is in force"},
		{"versions", "closes the channel before there is a version", func(p *plain) {
			p.revoke = func(id, ch string, role chansec.Role) {
				p.take(id, ch, role)
				p.mu.Lock()
				close(p.changed)
				p.changed = make(chan struct{})
				p.mu.Unlock()
			}
		}, "closes before there is another version"},
		{"versions", "closes nothing", func(p *plain) {
			p.revoke = func(id, ch string, role chansec.Role) { p.take(id, ch, role); p.mu.Lock(); p.version++; p.mu.Unlock() }
		}, "returned before the channel of Changed was closed"},
		{"versions", "has no channel", func(p *plain) { p.changes = func() <-chan struct{} { return nil } }, "a channel that is nil"},
		{"versions", "keeps the closed channel", func(p *plain) {
			first := p.changed
			p.changes = func() <-chan struct{} { return first }
		}, "Changed returns a channel that is closed already"},
		{"versions", "changes all the time", func(p *plain) {
			var n atomic.Uint64
			p.versionIs = func() uint64 { return n.Add(1) }
		}, "although nothing changed"},

		{"concurrency", "takes what belongs to others", func(p *plain) {
			p.revoke = func(id, ch string, role chansec.Role) { p.take(id, ch, role); p.take("limited", ch, role) }
		}, `("limited", "here")`},
		{"concurrency", "mixes tokens up", func(p *plain) {
			var last atomic.Value
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				p.mu.RLock()
				who, ok := p.tokens[token]
				p.mu.RUnlock()
				if !ok {
					return chansec.Principal{SystemID: "admin"}, nil
				}
				last.Store(who)
				return last.Load().(chansec.Principal), nil
			}
		}, "the made up token proves"},

		{"contexts", "waits for ever", func(p *plain) {
			p.authenticate = func(context.Context, string) (chansec.Principal, error) { select {} }
		}, "Authenticate of an unknown token does not return"},
		{"contexts", "says yes when there is no time to decide", func(p *plain) {
			p.authorize = func(ctx context.Context, role chansec.Role, id, ch string) (bool, error) {
				return ctx.Err() != nil || p.holds(role, id, ch), nil
			}
		}, "says yes because its context ended"},

		{"token requests", "does not look at the request", func(p *plain) {
			p.generate = func(context.Context, chansec.TokenRequest) (string, error) { return "token", nil }
		}, "GenerateToken takes a request with a negative lifetime"},
		{"token requests", "returns what it made beside the error", func(p *plain) {
			p.generate = func(context.Context, chansec.TokenRequest) (string, error) { return "token", errors.New("no") }
		}, "returns a token beside the error"},
		{"token requests", "grants first and looks then", func(p *plain) {
			p.generate = func(_ context.Context, req chansec.TokenRequest) (string, error) {
				p.mu.Lock()
				p.rights[[2]string{req.SystemID, here}] = chansec.RoleAdmin
				p.mu.Unlock()
				return p.issue(req)
			}
		}, "says yes"},
		{"token requests", "panics", func(p *plain) {
			p.generate = func(_ context.Context, req chansec.TokenRequest) (string, error) {
				return req.Channels[0], errors.New("no")
			}
		}, "GenerateToken for the zero request panicked"},

		{"secrets", "explains by what the message says", func(p *plain) {
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				d := p.decides(req)
				if req.Message != nil {
					d.Reason = fmt.Sprint("because of ", req.Message.Content)
				}
				return d, nil
			}
		}, "an audit event contains what a message says"},
		{"secrets", "names the token by itself", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				who, ok := p.tokens[token]
				if !ok {
					return chansec.Principal{}, chansec.ErrUnauthenticated
				}
				g := *who.Grant
				g.TokenID = token
				who.Grant = &g
				return who, nil
			}
		}, "an audit event contains the admin's token"},
		{"secrets", "repeats the token in an error", func(p *plain) {
			p.authenticate = func(_ context.Context, token string) (chansec.Principal, error) {
				return chansec.Principal{}, fmt.Errorf("%w: %s", chansec.ErrUnauthenticated, token)
			}
		}, "an error of Authenticate contains"},
	} {
		covered[tt.rule] = true
		t.Run(tt.rule+": it "+tt.name, func(t *testing.T) {
			t.Parallel()
			found := findings(t, tt.rule, func(t *testing.T) chansec.ChannelSecurity {
				p := newPlain(t)
				tt.broken(p)
				return p
			}, plainExpectations(), openSite)
			require.True(t, slices.ContainsFunc(found, func(p string) bool { return strings.Contains(p, tt.want) }), "%q is not among %q", tt.want, found)
		})
	}

	t.Run("contents: it is ContentBlind and looks at messages", func(t *testing.T) {
		found := findings(t, "contents", func(t *testing.T) chansec.ChannelSecurity { return blind{newPlain(t)} }, plainExpectations(), openSite)
		require.Contains(t, strings.Join(found, "\n"), "although the security is ContentBlind")
	})

	covered["affected"] = true
	t.Run("affected: it names somebody else", func(t *testing.T) {
		found := findings(t, "affected", func(t *testing.T) chansec.ChannelSecurity { return hinting{newPlain(t)} }, hintingExpectations(), openSite)
		require.Contains(t, strings.Join(found, "\n"), `AffectedSince returns ["somebody else"], without "reader"`)
	})

	covered["grants"] = true
	t.Run("grants: the channel does not look at them", func(t *testing.T) {
		found := findings(t, "grants", func(t *testing.T) chansec.ChannelSecurity { return newPlain(t) }, plainExpectations(),
			func(ctx context.Context, kind int, id string, s chansec.ChannelSecurity) (*site, error) {
				at, err := openSite(ctx, kind, id, s)
				at.forCaller = func(c chansec.Caller) port {
					p, _ := c.Principal()
					return at.as(p.SystemID)
				}
				return at, err
			})
		require.Contains(t, strings.Join(found, "\n"), `with a zero grant, "reader" may Read on "here"`)
	})
	t.Run("grants: the security believes them", func(t *testing.T) {
		found := findings(t, "grants", func(t *testing.T) chansec.ChannelSecurity {
			p := newPlain(t)
			p.decide = func(_ context.Context, req chansec.Request) (chansec.Decision, error) {
				return chansec.Decision{Allowed: req.Principal.Grant != nil}, nil
			}
			return p
		}, plainExpectations(), openSite)
		require.Contains(t, strings.Join(found, "\n"), "and without it not")
	})

	for _, r := range securityRules {
		require.True(t, covered[r.name], "no broken security shows that the rule %q can find anything", r.name)
	}
}
