package wampauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// Administration is what the administrators of a realm do (sqlauth.md 6). It may be called from many goroutines at once.
type Administration interface {
	// Do does an operation on behalf of somebody, whom it checks as if nobody had before, with an object of arguments in
	// JSON. The result is encoded as JSON. An error that is a NamedError, a policy.Kind, or chansec.ErrPermission, ErrInvalid
	// or ErrLimit, is the caller's, who is told its text: it holds no secret.
	Do(ctx context.Context, by policy.Actor, operation string, arguments json.RawMessage) (any, error)
	// Operations returns the names of the operations, such as user.add.
	Operations() []string
}

// NamedError is an error that says by which name of sqlauth.md 12 callers are told of it, such as not-found. Another name, or
// none, says nothing. The Kind of an sqlstore is one.
type NamedError interface {
	error
	ErrorName() string
}

// Bounds of the administration's procedures.
const (
	maxServing    = 64      // invocations at a time
	maxArguments  = 1 << 20 // bytes of arguments
	serveTimeout  = 30 * time.Second
	argumentsName = "arguments"
)

// kinds are the names of errors that callers are told (sqlauth.md 12), by what an error is where it does not name itself. The
// first that fits counts.
var kinds = []struct {
	is   error
	name string
}{
	{policy.NoAdminRole, "no-admin-role"}, {policy.NoAdminTopic, "no-admin-topic"},
	{policy.Kind("not-authorized"), "not-authorized"}, {policy.Kind("denied"), "denied"}, {policy.Kind("no-session"), "no-session"},
	{ErrNoSession, "not-found"}, {policy.NotFound, "not-found"}, {policy.NoSuchPrincipal, "not-found"}, {policy.Exists, "exists"}, {policy.InUse, "in-use"},
	{policy.Kind("invalid"), "invalid"}, {policy.Syntax, "invalid"}, {policy.InvalidArgument, "invalid"}, {policy.InvalidPath, "invalid"},
	{policy.UnknownPermission, "invalid"}, {policy.Cycle, "invalid"}, {policy.Limit, "invalid"}, {policy.LastAdministrator, "in-use"},
	{chansec.ErrInvalid, "invalid"}, {chansec.ErrLimit, "invalid"}, {chansec.ErrPermission, "not-authorized"},
}

// Serve registers the procedures of an administration, <Base>.<operation> each, and, where it has none of them, session.list,
// session.get and session.kill of the guard's own. A procedure takes an object of arguments, as the keyword argument
// "arguments" or as the only positional one, and returns one result.
//
// A caller is told an error of the name <Base>.error.<name>, where the name is one of not-authorized, invalid, not-found,
// exists, no-admin-role, no-admin-topic, in-use, denied and no-session, with a text for people; and internal, with none, for
// everything else, which is logged. Who calls is the session that logged in, whatever it says. Local clients are nobody here.
//
// Serve fails before Start, or if the router refuses a name.
func (g *Guard) Serve(_ context.Context, a Administration) error {
	if !g.open.Load() {
		return ErrUnavailable
	}
	operations := make(map[string]func(context.Context, *member, json.RawMessage) (any, error))
	for name, own := range map[string]func(context.Context, *member, json.RawMessage) (any, error){
		"session.list": g.listSessions, "session.get": g.getSession, "session.kill": g.killSessions,
	} {
		operations[name] = func(ctx context.Context, m *member, arguments json.RawMessage) (any, error) {
			if d, err := g.ask(m, call, g.base+"."+name); err != nil {
				return nil, err
			} else if !d.Allowed || !m.covers(call, g.base+"."+name, "") {
				return nil, policy.Kind("not-authorized")
			}
			return own(ctx, m, arguments)
		}
	}
	if a != nil {
		for _, name := range a.Operations() {
			operations[name] = func(ctx context.Context, m *member, arguments json.RawMessage) (any, error) {
				return a.Do(ctx, m.actor(), name, arguments)
			}
		}
	}
	for name, do := range operations {
		procedure := g.base + "." + name
		if len(procedure) > MaxName || !wamp.URI(procedure).ValidURI(false, "") {
			return invalid("operation", quote(name), "components without blanks")
		}
		handler := func(ctx context.Context, inv *wamp.Invocation) client.InvokeResult { return g.invoke(ctx, inv, do) }
		if err := g.local.Register(procedure, handler, wamp.Dict{wamp.OptDiscloseCaller: true}); err != nil {
			return err
		}
	}
	return nil
}

// actor is who a session is to an administration.
func (m *member) actor() policy.Actor {
	if m.caller == nil {
		return policy.ActorNamed(m.principal.SystemID)
	}
	return policy.ActorOf(m.principal)
}

// invoke does one operation for whoever called it.
func (g *Guard) invoke(ctx context.Context, inv *wamp.Invocation, do func(context.Context, *member, json.RawMessage) (any, error)) client.InvokeResult {
	select {
	case g.serving <- struct{}{}:
		defer func() { <-g.serving }()
	default:
		return g.failure(&refusal{"too much is being done: try again later", chansec.ErrLimit})
	}
	ctx, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	m, err := g.callerOf(inv)
	if err != nil {
		return g.failure(err)
	}
	arguments, err := argumentsOf(inv)
	if err != nil {
		return g.failure(err)
	}
	result, err := do(ctx, m, arguments)
	if err == nil {
		result, err = plain(result)
	}
	if err != nil {
		return g.failure(err)
	}
	return client.InvokeResult{Args: wamp.List{result}}
}

// callerOf returns the session that the router says has called.
func (g *Guard) callerOf(inv *wamp.Invocation) (*member, error) {
	id, ok := wamp.AsID(inv.Details[wamp.RoleCaller])
	login, named := wamp.AsString(inv.Details[wamp.RoleCaller+"_authid"])
	if ok && named {
		if m := g.members.Get(id); m != nil && !m.gone.Load() && m.principal.SystemID == login && g.alive(m) == nil {
			return m, nil
		}
	}
	return nil, &refusal{"only sessions that logged in may call this", policy.Kind("not-authorized")}
}

// argumentsOf returns the object that an invocation has.
func argumentsOf(inv *wamp.Invocation) (json.RawMessage, error) {
	bad := func(value string) error {
		return invalid("arguments", value, `one object, as the keyword argument "`+argumentsName+`" or the only positional one`)
	}
	var given any = wamp.Dict{}
	keyword, has := inv.ArgumentsKw[argumentsName]
	switch {
	case len(inv.Arguments) == 0 && len(inv.ArgumentsKw) == 0:
	case len(inv.Arguments) == 0 && len(inv.ArgumentsKw) == 1 && has:
		given = keyword
	case len(inv.Arguments) == 1 && len(inv.ArgumentsKw) == 0:
		given = inv.Arguments[0]
	default:
		return nil, bad("")
	}
	object, ok := wamp.AsDict(given)
	if !ok || object == nil {
		return nil, bad("")
	}
	text, err := json.Marshal(map[string]any(object))
	if err != nil {
		return nil, bad("") // what JSON has no word for; its error may quote the value
	}
	if len(text) > maxArguments {
		return nil, bad(strconv.Itoa(len(text)) + " bytes")
	}
	return text, nil
}

// plain returns what a result is in JSON, so that it is the same over all of the router's encodings.
func plain(result any) (any, error) {
	text, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return numbered(v), nil
}

// numbered makes whole numbers int64 and all others float64.
func numbered(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return math.NaN()
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbered(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbered(v[k])
		}
	}
	return v
}

// failure is what a caller is told about an error.
func (g *Guard) failure(err error) client.InvokeResult {
	if name := nameOf(err); name != "" {
		return client.InvokeResult{Err: wamp.URI(g.base + ".error." + name), Args: wamp.List{err.Error()}}
	}
	g.complain("an operation of the administration failed", err)
	return client.InvokeResult{Err: wamp.URI(g.base + ".error.internal"), Args: wamp.List{"the operation failed; the reason was logged"}}
}

// nameOf returns the name by which a caller is told of an error, or nothing.
func nameOf(err error) string {
	if named, ok := errors.AsType[NamedError](err); ok {
		for _, k := range kinds {
			if name := named.ErrorName(); name == k.name {
				return name
			}
		}
	}
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			return k.name
		}
	}
	return ""
}

// sessionArguments is what the operations on sessions take.
type sessionArguments struct {
	Session *int64 `json:"session"`
	Login   string `json:"login"`
	Reason  string `json:"reason"`
}

func readSession(arguments json.RawMessage) (a sessionArguments, err error) {
	d := json.NewDecoder(bytes.NewReader(arguments))
	d.DisallowUnknownFields()
	if d.Decode(&a) != nil {
		return a, invalid("arguments", "", "session, a number, or login, and reason, a text")
	}
	for _, c := range a.Reason {
		if c < ' ' || c == 0x7f {
			return a, invalid("reason", quote(a.Reason), "one line")
		}
	}
	if len(a.Reason) > MaxName {
		return a, invalid("reason", quote(a.Reason), "at most "+strconv.Itoa(MaxName)+" bytes")
	}
	return a, nil
}

func (g *Guard) listSessions(ctx context.Context, _ *member, arguments json.RawMessage) (any, error) {
	if a, err := readSession(arguments); err != nil || a != (sessionArguments{}) {
		return nil, errors.Join(invalid("arguments", "", "none"), err)
	}
	list, err := g.Sessions(ctx)
	if list == nil {
		list = []Session{}
	}
	return list, err
}

func (g *Guard) getSession(ctx context.Context, _ *member, arguments json.RawMessage) (any, error) {
	a, err := readSession(arguments)
	if err != nil {
		return nil, err
	}
	if a.Session == nil || a.Login != "" || a.Reason != "" {
		return nil, invalid("arguments", "", "session, a number")
	}
	list, err := g.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Number == *a.Session {
			return s, nil
		}
	}
	return nil, ErrNoSession
}

func (g *Guard) killSessions(_ context.Context, by *member, arguments json.RawMessage) (any, error) {
	a, err := readSession(arguments)
	if err != nil {
		return nil, err
	}
	if (a.Session == nil) == (a.Login == "") {
		return nil, invalid("arguments", "", "either session or login")
	}
	n := 1
	if a.Session != nil {
		err = g.KickSession(*a.Session, by.principal.SystemID, a.Reason)
	} else if n = g.KickLogin(a.Login, by.principal.SystemID, a.Reason); n == 0 {
		err = ErrNoSession
	}
	if err != nil {
		return nil, err
	}
	return map[string]int{"killed": n}, nil
}
