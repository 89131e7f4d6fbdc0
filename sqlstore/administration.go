package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chansec/chansec/internal/strictjson"
	"github.com/chansec/chansec/policy"
)

// DefaultBase is the topic below which the operations are called.
const DefaultBase = "sys"

// AdministrationOptions are what an Administration may be told.
type AdministrationOptions struct {
	// Base is the topic below which callers need the permission call: for user.add on base.user.add. Empty is DefaultBase.
	Base string
	// Router returns the numbers of the sessions that the router of this process has now. With it, session.list leaves out
	// what only the table has of this node, and marks what only the router has.
	Router func(ctx context.Context) ([]int64, error)
}

// Administration is the operations of sqlauth.md 6 on a store. It may be used from many goroutines at once.
//
// Each operation passes two gates. The caller must be an active user who may call it. And where it changes what somebody
// administers, the caller must administer that. policy.Root passes both: it is for the program itself, to be handed to
// nobody.
//
// All changes of one operation are one transaction, and in force in this process when it returns.
type Administration struct {
	store  *Store
	base   string
	router func(ctx context.Context) ([]int64, error)
}

// Administration returns the operations on the store, which must be one of policy.WAMPConfig with Delegation.
func (s *Store) Administration(o AdministrationOptions) (*Administration, error) {
	if o.Base == "" {
		o.Base = DefaultBase
	}
	for part := range strings.SplitSeq(o.Base, ".") {
		if !isWord(part, MaxName) || len(o.Base) > MaxName {
			return nil, no(InvalidArgument, "base", o.Base, "a topic: components of letters, digits, _ and -")
		}
	}
	if !s.options.Policy.Delegation || !slices.Equal(s.options.Policy.Vocabulary.Path, policy.WAMP().Path) {
		return nil, refuse(InvalidArgument, "policy", "", "policy.WAMPConfig with Delegation")
	}
	return &Administration{store: s, base: o.Base, router: o.Router}, nil
}

// operation is one of the table: it reads its arguments, and returns what does it.
type operation func(a *Administration, by policy.Actor, args *arguments) action

// action does an operation whose arguments were in order.
type action func(ctx context.Context) (any, error)

// operations is the table of sqlauth.md 6.
var operations = map[string]operation{
	"user.list": (*Administration).userList, "user.get": (*Administration).userGet, "user.add": (*Administration).userAdd,
	"user.update": (*Administration).userUpdate, "user.delete": (*Administration).userDelete,
	"role.list": (*Administration).roleList, "role.get": (*Administration).roleGet, "role.add": (*Administration).roleAdd,
	"role.update": (*Administration).roleUpdate, "role.delete": (*Administration).roleDelete,
	"userrole.add": (*Administration).userroleAdd, "userrole.delete": (*Administration).userroleDelete,
	"topic.list": (*Administration).topicList, "topic.get": (*Administration).topicGet, "topic.add": (*Administration).topicAdd,
	"topic.update": (*Administration).topicUpdate, "topic.delete": (*Administration).topicDelete,
	"topicrole.add": (*Administration).topicroleAdd, "topicrole.delete": (*Administration).topicroleDelete,
	"topicrole.list": (*Administration).topicroleList, "topicrole.permission": (*Administration).topicrolePermission,
	"session.list": (*Administration).sessionList, "session.get": (*Administration).sessionGet, "session.kill": (*Administration).sessionKill,
	"activity.list": (*Administration).activityList, "activity.get": (*Administration).activityGet, "activity.delete": (*Administration).activityDelete,
}

// Operations returns the names of the operations, sorted.
func (a *Administration) Operations() []string { return slices.Sorted(maps.Keys(operations)) }

// Do does an operation with a JSON object of arguments; nothing is an empty one. The result is something that encoding/json
// writes as sqlauth has it, nil for an operation that only changes something. KindOf says why it was refused; other errors
// mean that the database failed, or that nobody knows what it holds now, which is chansec.ErrUndecided.
//
// The order of precedence is that of sqlauth.md 6: NotAuthorized, Invalid, NotFound for the role that is named, NoAdminRole
// and NoAdminTopic, and then what else is not found, or there already.
func (a *Administration) Do(ctx context.Context, by policy.Actor, name string, args json.RawMessage) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := a.mayCall(by, name); err != nil {
		return nil, kinded(err)
	}
	does, ok := operations[name]
	if !ok {
		return nil, no(NotFound, "operation", name, "one of "+strings.Join(a.Operations(), ", "))
	}
	read := readArguments(args)
	act := does(a, by, read)
	if err := read.done(); err != nil {
		return nil, err
	}
	result, err := act(ctx)
	if err != nil {
		return nil, kinded(err)
	}
	return result, nil
}

// mayCall is the first gate.
func (a *Administration) mayCall(by policy.Actor, name string) error {
	if by.IsRoot() {
		return nil
	}
	if err := a.store.fresh(); err != nil {
		return err
	}
	procedure := a.base + "." + name
	may, err := a.store.policy.May(by, "call", procedure)
	if err == nil && (!may || !a.store.users.Active(by.String())) {
		err = no(NotAuthorized, "procedure", procedure, "an active user who may call it")
	}
	return err
}

// change changes the policy, and perhaps more in the same transaction, and waits until it is in force.
func (a *Administration) change(ctx context.Context, by policy.Actor, f func(t *tx, p *policy.Tx) error, more func(t *tx) error) error {
	var revision uint64
	err := a.store.inTx(ctx, func(t *tx) (err error) {
		revision, err = a.store.UpdateIn(ctx, t.Tx, by, func(p *policy.Tx) error { return f(t, p) })
		if err == nil && more != nil {
			err = more(t)
		}
		return err
	})
	if err != nil {
		return err
	}
	return a.store.AtLeast(ctx, revision)
}

// policyOnly is an action that only changes the policy.
func (a *Administration) policyOnly(by policy.Actor, f func(p *policy.Tx) error) action {
	return func(ctx context.Context) (any, error) {
		return nil, a.change(ctx, by, func(_ *tx, p *policy.Tx) error { return f(p) }, nil)
	}
}

// describe writes the description of a role or topic; nil leaves it.
func describe(ctx context.Context, t *tx, table, name string, text *string, by policy.Actor) error {
	if text == nil {
		return nil
	}
	_, err := t.ExecContext(ctx, `update `+table+` set description = $1, modified_by = $2, modified_at = $3 where name = $4`, *text, nameOf(by), stamp(time.Now()), name)
	return err
}

// descriptions returns the descriptions of roles or topics by name.
func (a *Administration) descriptions(ctx context.Context, table string) (map[string]string, error) {
	list := map[string]string{}
	err := collect(ctx, a.store.db, `select name, description from `+table+` where description <> ''`, nil, func(row scanner) error {
		var name, text string
		err := row.Scan(&name, &text)
		list[name] = text
		return err
	})
	return list, wrap(ctx, err)
}

// Users.

func (a *Administration) userList(_ policy.Actor, _ *arguments) action {
	return func(ctx context.Context) (any, error) { return a.store.users.List(ctx) }
}

func (a *Administration) userGet(_ policy.Actor, args *arguments) action {
	login := args.name("login")
	return func(ctx context.Context) (any, error) { return a.store.users.Get(ctx, login) }
}

func (a *Administration) userAdd(by policy.Actor, args *arguments) action {
	n := NewUser{Login: args.name("login"), FullName: args.text("fullname", MaxFullName), TZName: args.text("tzname", MaxName),
		Secret: args.text("secret", MaxSecret), Roles: args.list("roles")}
	if args.err == nil {
		args.err = n.check()
	}
	return func(ctx context.Context) (any, error) {
		_, err := a.store.users.Add(ctx, by, n)
		return nil, err
	}
}

func (a *Administration) userUpdate(by policy.Actor, args *arguments) action {
	login := args.name("login")
	c := UserChange{FullName: args.optional("fullname", MaxFullName), TZName: args.optional("tzname", MaxName), Secret: args.optional("secret", MaxSecret)}
	if args.err == nil {
		args.err = c.check()
	}
	return func(ctx context.Context) (any, error) { return nil, a.store.users.Update(ctx, by, login, c) }
}

func (a *Administration) userDelete(by policy.Actor, args *arguments) action {
	login := args.name("login")
	return func(ctx context.Context) (any, error) { return nil, a.store.users.Delete(ctx, by, login) }
}

// Roles.

// RoleInfo is a role as role.list and role.get have it.
type RoleInfo struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Bind        string   `json:"bind"`  // the topic that it is bound to; empty is none
	Users       []string `json:"users"` // logins, sorted
}

func (a *Administration) roles(ctx context.Context) ([]RoleInfo, error) {
	descriptions, err := a.descriptions(ctx, "role")
	if err != nil {
		return nil, err
	}
	s := a.store.policy.Snapshot()
	users := map[string][]string{}
	for _, login := range a.store.users.logins() {
		for _, role := range s.Roles(login) {
			users[role] = append(users[role], login)
		}
	}
	list := []RoleInfo{}
	for name, binding := range s.Bindings() {
		list = append(list, RoleInfo{name, descriptions[name], binding, append([]string{}, users[name]...)})
	}
	return list, nil
}

func (a *Administration) roleList(_ policy.Actor, _ *arguments) action {
	return func(ctx context.Context) (any, error) { return a.roles(ctx) }
}

func (a *Administration) roleGet(_ policy.Actor, args *arguments) action {
	name := args.name("name")
	return func(ctx context.Context) (any, error) {
		list, err := a.roles(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if r.Name == name {
				return r, nil
			}
		}
		return nil, no(NotFound, "role", name, "a role that is there")
	}
}

func (a *Administration) roleAdd(by policy.Actor, args *arguments) action {
	name, description, topic := args.name("name"), args.description(), args.text("bind_topic", MaxName)
	return func(ctx context.Context) (any, error) {
		return nil, a.change(ctx, by, func(_ *tx, p *policy.Tx) error { return p.AddRole(name, topic) },
			func(t *tx) error { return describe(ctx, t, "role", name, description, by) })
	}
}

func (a *Administration) roleUpdate(by policy.Actor, args *arguments) action {
	name, description := args.name("name"), args.description()
	if description == nil {
		args.wrong("description", "a text")
	}
	return func(ctx context.Context) (any, error) {
		return nil, a.change(ctx, by, func(_ *tx, p *policy.Tx) error { return p.CheckRole(name) },
			func(t *tx) error { return describe(ctx, t, "role", name, description, by) })
	}
}

func (a *Administration) roleDelete(by policy.Actor, args *arguments) action {
	name := args.name("name")
	return a.policyOnly(by, func(p *policy.Tx) error { return p.RemoveRole(name) })
}

func (a *Administration) userroleAdd(by policy.Actor, args *arguments) action {
	login, name := args.name("login"), args.name("name")
	return func(ctx context.Context) (any, error) {
		return nil, a.change(ctx, by, func(t *tx, p *policy.Tx) error {
			if err := p.CheckRole(name); err != nil {
				return err
			}
			if _, _, err := hold(ctx, t, login); err != nil {
				return err
			}
			return p.AssignNewRole(login, name)
		}, nil)
	}
}

func (a *Administration) userroleDelete(by policy.Actor, args *arguments) action {
	login, name := args.name("login"), args.name("name")
	return a.policyOnly(by, func(p *policy.Tx) error {
		if err := p.CheckRole(name); err != nil || CheckLogin(login) != nil { // who can be no user is no member
			return err
		}
		return p.UnassignRole(login, name)
	})
}

// Topics.

// TopicInfo is a topic as topic.list and topic.get have it.
type TopicInfo struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Roles       []string `json:"roles"` // that have any grant on it, sorted
}

func (a *Administration) topics(ctx context.Context) ([]TopicInfo, error) {
	descriptions, err := a.descriptions(ctx, "topic")
	if err != nil {
		return nil, err
	}
	s := a.store.policy.Snapshot()
	roles := map[string][]string{}
	for r := range s.Rules() {
		roles[r.Path] = append(roles[r.Path], r.Role)
	}
	list := []TopicInfo{}
	for name := range s.Topics() {
		list = append(list, TopicInfo{name, descriptions[name], append([]string{}, roles[name]...)})
	}
	return list, nil
}

func (a *Administration) topicList(_ policy.Actor, _ *arguments) action {
	return func(ctx context.Context) (any, error) { return a.topics(ctx) }
}

func (a *Administration) topicGet(_ policy.Actor, args *arguments) action {
	name := args.name("name")
	return func(ctx context.Context) (any, error) {
		list, err := a.topics(ctx)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			if x.Name == name {
				return x, nil
			}
		}
		return nil, no(NotFound, "topic", name, "a topic that is there")
	}
}

func (a *Administration) topicAdd(by policy.Actor, args *arguments) action {
	name, description := args.name("name"), args.description()
	return func(ctx context.Context) (any, error) {
		return nil, a.change(ctx, by, func(_ *tx, p *policy.Tx) error { return p.AddTopic(name) },
			func(t *tx) error { return describe(ctx, t, "topic", name, description, by) })
	}
}

func (a *Administration) topicUpdate(by policy.Actor, args *arguments) action {
	name, description := args.name("name"), args.description()
	if description == nil {
		args.wrong("description", "a text")
	}
	return func(ctx context.Context) (any, error) {
		return nil, a.change(ctx, by, func(_ *tx, p *policy.Tx) error { return p.CheckTopic(name) },
			func(t *tx) error { return describe(ctx, t, "topic", name, description, by) })
	}
}

func (a *Administration) topicDelete(by policy.Actor, args *arguments) action {
	name := args.name("name")
	return a.policyOnly(by, func(p *policy.Tx) error { return p.RemoveTopic(name) })
}

// Grants.

// grantArguments reads a topic, a role and actions, all five if none are given.
func grantArguments(args *arguments) (topic, role string, actions []string) {
	topic, role, actions = args.name("topic_name"), args.name("name"), args.list("activity")
	if actions == nil {
		actions = policy.WAMP().Path
	}
	for _, action := range actions {
		checkAction(args, "activity", action)
	}
	return topic, role, actions
}

func checkAction(args *arguments, what, action string) {
	if !slices.Contains(policy.WAMP().Path, action) && args.err == nil {
		args.err = invalid(what, action, strings.Join(policy.WAMP().Path, ", "))
	}
}

func (a *Administration) topicroleAdd(by policy.Actor, args *arguments) action {
	topic, role, actions := grantArguments(args)
	return a.policyOnly(by, func(p *policy.Tx) error {
		if err := p.CheckRole(role); err != nil {
			return err
		}
		return p.GrantNew(role, topic, actions...)
	})
}

func (a *Administration) topicroleDelete(by policy.Actor, args *arguments) action {
	topic, role, actions := grantArguments(args)
	return a.policyOnly(by, func(p *policy.Tx) error {
		if err := p.CheckRole(role); err != nil {
			return err
		}
		return p.Revoke(role, topic, actions...)
	})
}

// GrantInfo is a grant as topicrole.list has it.
type GrantInfo struct {
	Topic  string `json:"topic"`
	Role   string `json:"role"`
	Action string `json:"action"`
	Allow  bool   `json:"allow"`
}

func (a *Administration) topicroleList(_ policy.Actor, args *arguments) action {
	topic, role := args.text("topic_name", MaxName), args.text("name", MaxName)
	return func(context.Context) (any, error) {
		list := []GrantInfo{}
		s := a.store.policy.Snapshot()
		for r := range s.Rules() {
			if topic != "" && r.Path != topic || role != "" && r.Role != role {
				continue
			}
			allowed, denied, _ := s.Assigned(r.Role, r.Path)
			for _, action := range allowed {
				list = append(list, GrantInfo{r.Path, r.Role, action, true})
			}
			for _, action := range denied {
				list = append(list, GrantInfo{r.Path, r.Role, action, false})
			}
		}
		return list, nil
	}
}

// PermissionInfo is a row that a decision comes by, as topicrole.permission has it.
type PermissionInfo struct {
	Topic string `json:"topic"`
	Role  string `json:"role"`
	Allow bool   `json:"allow"`
}

func (a *Administration) topicrolePermission(_ policy.Actor, args *arguments) action {
	login, topic, action := args.name("login"), args.name("topic_name"), args.name("type_id")
	checkAction(args, "type_id", action)
	return func(context.Context) (any, error) {
		list := []PermissionInfo{}
		if !a.store.users.Active(login) {
			return list, nil
		}
		s := a.store.policy.Snapshot()
		x, err := s.Explain(s.Session(login), topic, action)
		if err != nil {
			return nil, err
		}
		for _, p := range x.Passed {
			for _, r := range p.Rules {
				if slices.Contains(r.Permissions, action) {
					list = append(list, PermissionInfo{p.Path, r.Role, true})
				}
				if slices.Contains(r.Denied, action) {
					list = append(list, PermissionInfo{p.Path, r.Role, false})
				}
			}
		}
		return list, nil
	}
}

// Sessions.

func (a *Administration) sessionList(_ policy.Actor, _ *arguments) action {
	return func(ctx context.Context) (any, error) {
		list, err := a.store.sessions.Live(ctx)
		if err != nil || a.router == nil {
			return list, err
		}
		numbers, err := a.router(ctx)
		if err != nil {
			return nil, fmt.Errorf("sqlstore: the router: %w", err)
		}
		return a.compare(list, numbers), nil
	}
}

// compare leaves out what only the table has of this node, and adds what only the router has (sqlauth.md 7.1).
func (a *Administration) compare(list []Live, router []int64) []Live {
	known := map[int64]bool{}
	stale := func(l Live) bool {
		if l.Session == nil || l.Node != a.store.sessions.node {
			return false
		}
		known[*l.Session] = true
		return !slices.Contains(router, *l.Session)
	}
	list = slices.DeleteFunc(list, func(l Live) bool {
		if !stale(l) {
			return false
		}
		a.store.options.Logger.Warn("sqlstore: the router does not have a session that the table has", slog.Int64("session", *l.Session))
		return true
	})
	for _, n := range router {
		if !known[n] {
			list = append(list, Live{Session: &n, Node: a.store.sessions.node, Warning: "the table does not have it"})
		}
	}
	sortLive(list)
	return list
}

// sessionRef reads a session: a number, or the ID of one that has none.
func sessionRef(args *arguments) (ref SessionRef) {
	switch v := args.value("session"); v.Kind() {
	case strictjson.KindNone:
	case strictjson.KindString:
		ref.ID, _ = v.Text()
		if ref.ID == "" || len(ref.ID) > MaxName {
			args.wrong("session", "a number, or an ID of 1 to 255 bytes")
		}
	default:
		n, ok := v.Int64()
		if !ok || n < 1 || n > MaxSessionNumber {
			args.wrong("session", "a number from 1 to 2^53-1, or an ID")
		}
		ref.Number = n
	}
	return ref
}

func (a *Administration) sessionGet(_ policy.Actor, args *arguments) action {
	ref := sessionRef(args)
	if _, _, err := ref.where(); err != nil && args.err == nil {
		args.err = err
	}
	return func(ctx context.Context) (any, error) { return a.store.sessions.Get(ctx, ref) }
}

func (a *Administration) sessionKill(by policy.Actor, args *arguments) action {
	ref, reason := sessionRef(args), args.text("reason", MaxName)
	ref.Login = args.text("login", MaxName)
	if _, _, err := ref.where(); err != nil && args.err == nil {
		args.err = err
	}
	return func(ctx context.Context) (any, error) {
		_, err := a.store.sessions.Kill(ctx, by, ref, reason)
		return nil, err
	}
}

// Activity.

func (a *Administration) activityList(_ policy.Actor, args *arguments) action {
	read := args.object("filter")
	f := ActionFilter{All: read.flag("all"), Denied: read.flag("denied"), Ended: read.flag("ended"), Login: read.text("login", MaxName),
		Session: read.number("session"), Topic: read.text("topic", MaxName), Action: read.text("action", MaxName),
		Since: read.time("since"), Until: read.time("until"), After: read.number("after"), Limit: int(min(read.number("limit"), MaxActions+1))}
	if err := read.done(); err != nil && args.err == nil {
		args.err = err
	}
	if err := f.check(); err != nil && args.err == nil {
		args.err = err
	}
	return func(ctx context.Context) (any, error) { return a.store.activity.List(ctx, f) }
}

func (a *Administration) activityGet(_ policy.Actor, args *arguments) action {
	id := args.number("id")
	if id == 0 {
		args.wrong("id", "a whole number from 1 on")
	}
	return func(ctx context.Context) (any, error) { return a.store.activity.Get(ctx, id) }
}

// Purged is what activity.delete returns.
type Purged struct {
	Deleted int64 `json:"deleted"`
}

func (a *Administration) activityDelete(_ policy.Actor, args *arguments) action {
	before := args.time("before")
	if year := before.UTC().Year(); before.IsZero() || year < 1 || year > 9999 {
		args.wrong("before", "a time such as 2006-01-02T15:04:05Z")
	}
	return func(ctx context.Context) (any, error) {
		n, err := a.store.activity.Purge(ctx, before)
		return Purged{n}, err
	}
}

// Format writes the base only, whatever the verb, since what is inside is not for dumps.
func (a *Administration) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("administration below " + strconv.Quote(a.base)))
}
