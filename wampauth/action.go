package wampauth

import (
	"cmp"
	"strings"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec/policy"
)

// action is what a message wants to do.
type action struct {
	permission string // of sqlauth.md 2: call, register, subscribe or publish
	name       string
	match      policy.Match
	path       string // what must be granted; empty: nothing that could be
	problem    string // why nobody may do it, whatever is granted
}

// The permissions.
const (
	call      = "call"
	register  = "register"
	subscribe = "subscribe"
	publish   = "publish"
)

// What belongs to the router.
const (
	routerTree        = "wamp"
	subscriptionsTree = "wamp.subscription"
)

// never are the procedures of nexus that nobody may call; see the package comment.
var never = map[wamp.URI]bool{
	wamp.MetaProcSessionAddTestament:  true,
	wamp.MetaProcSessionModifyDetails: true,
	wamp.MetaProcEventHistory:         true,
}

// maxListed is how many sessions, or values of their details, a publication may name.
const maxListed = 1000

// read finds out what a message wants to do, and reports whether it is one of those that are checked at all. The options are
// read as nexus reads them, or refused.
func (g *Guard) read(a *action, msg wamp.Message, m *member) bool {
	switch msg := msg.(type) {
	case *wamp.Publish:
		a.permission, a.name = publish, string(msg.Topic)
		if len(msg.Options) > 0 {
			a.problem = cmp.Or(m.passthru(msg.Options, wamp.RolePublisher), lists(msg.Options))
		}
		if within(a.name, routerTree) {
			a.problem = "events of the router are the router's to publish"
		}
	case *wamp.Subscribe:
		a.permission, a.name = subscribe, string(msg.Topic)
		a.match, a.problem = matching(msg.Options)
		if overlaps(a.name, a.match, subscriptionsTree) {
			a.problem = "events about subscriptions could not be taken back"
		}
	case *wamp.Call:
		a.permission, a.name = call, string(msg.Procedure)
		a.problem = m.passthru(msg.Options, wamp.RoleCaller)
		progress, _ := msg.Options[wamp.OptProgress].(bool)
		switch {
		case a.problem != "":
		case never[msg.Procedure]:
			a.problem = "nobody may call that"
		case progress && !m.announced(wamp.RoleCaller, wamp.FeatureProgCallInvocations):
			a.problem = "the client did not announce progressive calls"
		case progress && msg.Options[wamp.OptTimeout] != nil:
			a.problem = "a progressive call has no timeout"
		case !m.calls.admit(msg.Request, msg.Procedure, progress):
			a.problem = "the number of the request is that of another call"
		}
	case *wamp.Register:
		a.permission, a.name = register, string(msg.Procedure)
		a.match, a.problem = matching(msg.Options)
		if overlaps(a.name, a.match, routerTree) || overlaps(a.name, a.match, g.base) {
			a.problem = "names of the router and of the administration are theirs"
		}
	default:
		return false
	}
	if len(a.name) > MaxName {
		a.problem = "the name is too long"
	}
	if a.problem == "" {
		a.path, _ = policy.FixedPart(a.name, a.match)
	}
	return true
}

// matching returns how a subscription or registration means its name. nexus takes bytes for a text, and what is neither for exact.
func matching(options wamp.Dict) (policy.Match, string) {
	v, ok := options[wamp.OptMatch]
	if !ok || v == nil {
		return policy.MatchExact, ""
	}
	text, ok := wamp.AsString(v)
	switch m := policy.Match(text); {
	case !ok:
		return "", "the option match is no text"
	case m == "":
		return policy.MatchExact, ""
	case m != policy.MatchExact && m != policy.MatchPrefix && m != policy.MatchWildcard:
		return "", "unknown way to match"
	default:
		return m, ""
	}
}

// passthruOptions are those that nexus takes for texts without looking, which ends the process where they are not.
var passthruOptions = [...]string{wamp.OptPPTScheme, wamp.OptPPTSerializer, wamp.OptPPTCipher, wamp.OptPPTKeyId}

// passthru returns what is wrong with the options of payload passthru. Without the feature nexus closes the connection in a
// way that ends the process over some transports.
func (m *member) passthru(options wamp.Dict, role string) string {
	if len(options) == 0 {
		return ""
	}
	for _, name := range passthruOptions {
		if v, ok := options[name]; ok {
			if _, ok := v.(string); !ok {
				return "the option " + name + " is no text"
			}
		}
	}
	if _, ok := options[wamp.OptPPTScheme]; ok && !m.announced(role, wamp.FeaturePayloadPassthruMode) {
		return "the client did not announce payload passthru"
	}
	return ""
}

// lists returns what is wrong with the options that say who gets an event. nexus leaves out what it does not understand, which
// in the end would be everybody.
func lists(options wamp.Dict) string {
	listed := 0
	for name, v := range options {
		ids := name == wamp.BlacklistKey || name == wamp.WhitelistKey
		if name == wamp.OptExcludeMe || !ids && !strings.HasPrefix(name, "exclude_") && !strings.HasPrefix(name, "eligible_") {
			continue
		}
		list, ok := wamp.AsList(v)
		if !ok || v == nil || len(list) == 0 && strings.HasPrefix(name, wamp.WhitelistKey) {
			return "who is excluded or eligible must be lists, and somebody eligible"
		}
		if listed += len(list); listed > maxListed {
			return "too many are excluded or eligible"
		}
		for _, entry := range list {
			if ids {
				_, ok = wamp.AsID(entry)
			} else {
				var text string
				text, ok = wamp.AsString(entry)
				ok = ok && text != ""
			}
			if !ok {
				return "who is excluded or eligible must be numbers of sessions, or texts"
			}
		}
	}
	return ""
}

// within reports whether a name is a tree's or below it.
func within(name, tree string) bool {
	below, ok := strings.CutPrefix(name, tree)
	return ok && (below == "" || below[0] == '.')
}

// overlaps reports whether a name or pattern can match the root of a tree or anything below.
func overlaps(name string, match policy.Match, tree string) bool {
	switch match {
	case policy.MatchPrefix:
		return strings.HasPrefix(tree, name) || within(name, tree)
	case policy.MatchWildcard:
		parts, roots := strings.Split(name, "."), strings.Split(tree, ".")
		if len(parts) < len(roots) {
			return false
		}
		for i, root := range roots {
			if parts[i] != "" && parts[i] != root {
				return false
			}
		}
		return true
	}
	return within(name, tree)
}

// calls is which requests a session made, so that none has the number of another: the dealer would take it for more of that
// one, whatever it names. Numbers go up with each request, though those of clients with several threads may be out of order.
type calls struct {
	top  wamp.ID
	seen [window / 64]uint64  // of the numbers up to top
	more map[wamp.ID]wamp.URI // the progressive calls to which more may come
}

const (
	window         = 1024
	maxProgressive = 64
)

// admit notes a call, and reports whether it may have that number.
func (c *calls) admit(id wamp.ID, procedure wamp.URI, progress bool) bool {
	if is, ok := c.more[id]; ok {
		if !progress {
			delete(c.more, id)
		}
		return is == procedure
	}
	if !c.fresh(id) || progress && len(c.more) >= maxProgressive {
		return false
	}
	if progress {
		if c.more == nil {
			c.more = make(map[wamp.ID]wamp.URI)
		}
		c.more[id] = procedure
	}
	return true
}

func (c *calls) fresh(id wamp.ID) bool {
	switch {
	case id > c.top:
		if id-c.top >= window {
			c.seen = [window / 64]uint64{}
		} else {
			for n := c.top + 1; n <= id; n++ {
				c.seen[n%window/64] &^= 1 << (n % 64)
			}
		}
		c.top = id
	case c.top-id >= window:
		return false
	}
	word, bit := &c.seen[id%window/64], uint64(1)<<(id%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
