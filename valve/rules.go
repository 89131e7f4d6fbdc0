package valve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// Config says what Rules decide by, and about.
type Config struct {
	Permissions *Permissions
	// Channels says which section each channel belongs to. The first binding that fits a channel's ID counts; a channel that
	// none fits is denied everything.
	Channels []Binding
	// Lookup is where the records are that rules refer to by _(name). Nil: there are none.
	Lookup Lookup
}

// Binding says which section the rules for some channels are in.
type Binding struct {
	// Channels is a path as in permission files: "*" is every channel, "orders/$id" all with one more segment.
	Channels string
	Section  Section
	// Admin is the rule type that clearing, evicting and removing take. Empty: nobody may.
	Admin RuleType
}

// Rules decides about channels by a permission file, which can be replaced at any time. It may be used from many goroutines
// at once.
//
// What an operation takes depends on the section of its channel:
//
//	           read, claim, ...   subscribe   write                            delete
//	event      subscribe          subscribe   publish                          publish
//	record     read               read        create if there was none, write  delete
//	rpc        provide            provide     request                          request
//	presence   allow              allow       -                                -
//
// The name is the channel's ID; in the section record it is followed by a slash and the message's key, if it has one. data is
// the content of the message that is to be written, oldData of the one that is there, or that is read. user.id is the
// caller's system ID, and user.data the attributes of the principal.
//
// Reading and subscribing in the section record is asked for the channel as a whole first, and then for each message. A
// rule that uses oldData is asked for the messages only.
//
// AuthorizeRead, AuthorizeWrite and AuthorizeAdmin know neither attributes nor messages. They say yes only where no rule
// needs them.
type Rules struct {
	bindings []bound
	lookup   Lookup
	state    atomic.Pointer[state]

	file    string   // empty: the rules came from elsewhere
	options []Option // for the file

	reading sync.Mutex // of a change by the file, from reading it on, so that none overtakes a later one
	mu      sync.Mutex // of a change
}

// state is a file in force.
type state struct {
	*Permissions
	version uint64
	changed chan struct{}
}

type bound struct {
	path *path
	Binding
}

var (
	_ chansec.Authorizer = (*Rules)(nil)
	_ chansec.Decider    = (*Rules)(nil)
	_ chansec.Versioned  = (*Rules)(nil)
)

// New returns rules, or a chansec.InvalidError about the configuration.
func New(c Config) (*Rules, error) {
	if c.Permissions == nil {
		return nil, &chansec.InvalidError{What: "Permissions", Value: "nil", Want: "a permission file"}
	}
	if len(c.Channels) == 0 {
		return nil, &chansec.InvalidError{What: "Channels", Value: "none", Want: "at least one binding"}
	}
	r := &Rules{lookup: c.Lookup}
	for _, b := range c.Channels {
		types, known := ruleTypes[b.Section]
		if !known {
			return nil, &chansec.InvalidError{What: "section", Value: quote(string(b.Section)), Want: "record, event, rpc or presence"}
		}
		if b.Admin != "" && !slices.Contains(types, b.Admin) {
			return nil, &chansec.InvalidError{What: "rule type", Value: quote(string(b.Admin)), Want: wantTypes(b.Section)}
		}
		p := &path{text: b.Channels}
		problem := invalidPath(b.Channels)
		if problem == "" {
			if err := p.compile(); err != nil {
				problem = err.Error()
			}
		}
		if problem != "" {
			return nil, &chansec.InvalidError{What: "channel path", Value: quote(b.Channels), Want: "a path (" + problem + ")"}
		}
		r.bindings = append(r.bindings, bound{p, b})
	}
	r.state.Store(&state{Permissions: c.Permissions, version: 1, changed: make(chan struct{})})
	return r, nil
}

// Replace puts another permission file in force. Decisions that are in progress end by the old one, and are not reused.
func (r *Rules) Replace(p *Permissions) error {
	if p == nil {
		return &chansec.InvalidError{What: "Permissions", Value: "nil", Want: "a permission file"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	r.state.Store(&state{Permissions: p, version: old.version + 1, changed: make(chan struct{})})
	close(old.changed)
	return nil
}

// Version returns the number of the permission file in force.
func (r *Rules) Version() uint64 { return r.state.Load().version }

// Changed returns a channel that is closed when another permission file is put in force.
func (r *Rules) Changed() <-chan struct{} { return r.state.Load().changed }

// AuthorizeRead reports whether the rule is yes for that system, whatever its attributes and the messages are.
func (r *Rules) AuthorizeRead(ctx context.Context, systemID, channelID string) (bool, error) {
	return r.always(ctx, systemID, channelID, chansec.OpRead, chansec.OpSubscribe)
}

// AuthorizeWrite reports whether the rules are yes for that system, whatever its attributes and the messages are.
func (r *Rules) AuthorizeWrite(ctx context.Context, systemID, channelID string) (bool, error) {
	return r.always(ctx, systemID, channelID, chansec.OpWrite)
}

// AuthorizeAdmin reports whether the rule is yes for that system, whatever its attributes are.
func (r *Rules) AuthorizeAdmin(ctx context.Context, systemID, channelID string) (bool, error) {
	return r.always(ctx, systemID, channelID, chansec.OpAdmin)
}

// always reports whether Decide would say yes to all of the operations for every message and attribute.
func (r *Rules) always(ctx context.Context, systemID, channelID string, ops ...chansec.Operation) (bool, error) {
	s := r.state.Load()
	for _, op := range ops {
		b := r.binding(channelID)
		if b == nil || b.Section == Record {
			return false, nil // the names of records have keys in them
		}
		for _, a := range b.actions(op, true) {
			rule, _, err := s.choose(b.Section, actOf(b.Section, a), channelID, nil)
			if err != nil || rule == nil || !rule.constant && (rule.code.volatile || !rule.code.identity) {
				return false, nil
			}
		}
		d, err := r.decide(ctx, s, b, &chansec.Request{Principal: chansec.Principal{SystemID: systemID}, ChannelID: channelID, Operation: op}, nil)
		if err != nil && !errors.Is(err, chansec.ErrPermission) {
			return false, err
		}
		if err != nil || !d.Allowed {
			return false, nil
		}
	}
	return true, nil
}

// binding returns the first binding that fits a channel, or nil.
func (r *Rules) binding(channelID string) *bound {
	var room [maxVariables]binding
	for i := range r.bindings {
		b := &r.bindings[i]
		if _, ok, err := b.path.match(channelID, room[:0]); ok || err != nil {
			if err != nil {
				return nil
			}
			return b
		}
	}
	return nil
}

// What operations are in deepstream.
var (
	asSubscribe = []Action{ActionSubscribe}
	asRead      = []Action{ActionRead}
	asFollow    = []Action{ActionFollow}
	asProvide   = []Action{ActionProvide}
	asQuery     = []Action{ActionQuery}
	asEmit      = []Action{ActionEmit}
	asRequest   = []Action{ActionRequest}
	asDelete    = []Action{ActionDelete}
	asCreate    = []Action{ActionCreate, ActionUpdate}
	asUpdate    = []Action{ActionUpdate}
)

// actions is what an operation is in deepstream, none if it is nothing there. An operation of several takes the rules of all.
func (b *bound) actions(op chansec.Operation, create bool) []Action {
	follow := op == chansec.OpSubscribe
	switch op.Role() {
	case chansec.RoleRead:
		switch {
		case b.Section == Event, b.Section == Presence && follow:
			return asSubscribe
		case b.Section == Record && follow:
			return asFollow
		case b.Section == Record:
			return asRead
		case b.Section == RPC:
			return asProvide
		case b.Section == Presence:
			return asQuery
		}
	case chansec.RoleWrite:
		switch {
		case b.Section == Event:
			return asEmit
		case b.Section == RPC:
			return asRequest
		case b.Section == Record && op == chansec.OpDelete:
			return asDelete
		case b.Section == Record && create:
			return asCreate
		case b.Section == Record:
			return asUpdate
		}
	case chansec.RoleAdmin:
		if a, ok := adminAction[b.Admin]; ok {
			return []Action{a}
		}
	}
	return nil
}

// adminAction is what administration is in deepstream, where it is nothing of its own, by the rule type that it takes.
var adminAction = map[RuleType]Action{Create: "CREATE", Read: "READ", Write: "UPDATE", Delete: "DELETE", Listen: "LISTEN", Notify: "NOTIFY",
	Publish: "EMIT", Subscribe: "SUBSCRIBE", Provide: "PROVIDE", Request: "REQUEST", Allow: "QUERY"}

// Decide decides by the rule for the channel. Its Rule is the section, path and type of that. A rule that failed is an
// EvalError: a denial, unless a record could not be looked up.
func (r *Rules) Decide(ctx context.Context, req chansec.Request) (chansec.Decision, error) {
	return r.decide(ctx, r.state.Load(), r.binding(req.ChannelID), &req, nil)
}

// Explain decides as Decide does, by the same code, and says how it came to that. Of an operation that takes several rules it
// explains the one that refused, or the last. With content, values of texts and numbers are shown, which may be secret.
func (r *Rules) Explain(ctx context.Context, req chansec.Request, content bool) *Explanation {
	x := &Explanation{content: content}
	d, err := r.decide(ctx, r.state.Load(), r.binding(req.ChannelID), &req, x)
	x.Allowed, x.reason, x.Err = d.Allowed, d.Reason, err
	return x
}

// decide decides, and notes in x how it came about unless that is nil.
func (r *Rules) decide(ctx context.Context, s *state, b *bound, req *chansec.Request, x *Explanation) (chansec.Decision, error) {
	d := chansec.Decision{Version: s.version}
	if b == nil {
		d.Reason = "the channel belongs to no section"
		return d, nil
	}
	list := b.actions(req.Operation, req.Previous == nil)
	if len(list) == 0 {
		d.Reason = fmt.Sprintf("there is no rule type for it in the section %s", b.Section)
		return d, nil
	}
	q := Query{User: req.Principal.SystemID, Section: b.Section, Name: req.ChannelID, Lookup: r.lookup}
	if req.Principal.Attributes != nil {
		q.UserData = req.Principal.Attributes
	}
	q.messages(req)
	for _, a := range list {
		q.Action = a
		if b.Section == Record && req.Message == nil && req.Operation.Role() == chansec.RoleRead && req.Operation != chansec.OpInfo {
			if rule, _, err := s.choose(Record, actOf(Record, a), q.Name, nil); err == nil && rule != nil && rule.oldData {
				d.Allowed, d.PerMessage, d.Rule = true, true, rule.label
				d.Reason = "the rule decides about each message"
				return d, nil
			}
		}
		if x != nil {
			*x = Explanation{Section: b.Section, content: x.content}
		}
		res, err := s.answer(ctx, &q, x)
		if x != nil {
			x.Result = res
		}
		d.Rule = res.label
		if err != nil {
			return d, err
		}
		d.PerMessage = d.PerMessage || !res.reusable || b.Section == Record
		if d.Allowed = res.Allowed; !d.Allowed {
			d.PerMessage = false
			d.Reason = "the rule says no"
			if res.Rule == "" {
				d.Reason = fmt.Sprintf("no path has a rule %s for it", res.Type)
			}
			return d, nil
		}
		d.Reason = "the rule says yes"
	}
	return d, nil
}

// messages fills in what a query says of messages.
func (q *Query) messages(req *chansec.Request) {
	m := req.Message
	if m == nil {
		q.NoOld = true
		return
	}
	if q.Section == Record && m.Key != "" {
		q.Name += "/" + m.Key
	}
	if req.Operation == chansec.OpWrite {
		q.HasData, q.Data = true, m.Content
	}
	old := req.Previous
	if req.Operation.Role() == chansec.RoleRead && m.ID != uuid.Nil {
		old = m
	}
	if q.HasOld = old != nil; q.HasOld {
		q.Old = old.Content
	} else {
		q.NoOld = true
	}
}
