package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// administrator does the operations of a database's or router's administration (sqlauth.md 6).
type administrator interface {
	// Do does an operation, such as user.add, with an object of arguments. What it refuses is a *refusal.
	Do(ctx context.Context, operation string, arguments json.RawMessage) (json.RawMessage, error)
	Close() error
}

// refusal is why an operation was not done: the name of the error as sqlauth.md 12 has it, and a text for people.
type refusal struct{ name, text string }

// newRefusal leaves out what the text says of its package and of the name.
func newRefusal(name, text string) *refusal {
	for _, prefix := range []string{"sqlstore: ", "policy: ", "wampauth: ", "chansec: ", name, ": "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return &refusal{name, text}
}

func (r *refusal) Error() string {
	if r.text == "" {
		return r.name
	}
	return r.name + ": " + r.text
}

// argumentKind is how an argument is given on the command line.
type argumentKind uint8

const (
	word   argumentKind = iota // a text
	words                      // a list of texts: a flag that may be repeated, or all further arguments
	number                     // a whole one
	truth                      // a flag without a value
	moment                     // a time; see instant
	secret                     // never on the command line; see secretSource
	object                     // of JSON
	values                     // all further arguments, of JSON or texts
)

// argument is one member of the object that an operation takes.
type argument struct {
	name     string // in the object; in another one where there is a dot
	flag     string // without: by its place
	kind     argumentKind
	required bool
	help     string
	choices  []string // all that it can be; nil: anything
}

// verb is one operation, and how it is done by hand.
type verb struct {
	name      string
	help      string
	example   string // without "chansec"
	arguments []argument
	columns   []string // of the table: members of the result
	done      string   // what is said of a result that is no table
	local     bool     // it is done on a database only
}

// thing is what verbs are about.
type thing struct {
	name  string
	alias string
	help  string
	verbs []verb
	never map[string]string // verbs that there are not, and why
}

var granted = []string{"call", "register", "subscribe", "publish", "admin"}

var (
	login       = argument{name: "login", kind: word, required: true, help: "who"}
	named       = argument{name: "name", kind: word, required: true, help: "the name"}
	role        = argument{name: "name", kind: word, required: true, help: "the role"}
	onTopic     = argument{name: "topic_name", kind: word, required: true, help: "the topic"}
	description = argument{name: "description", flag: "description", kind: word, help: "what it is for"}
	fullname    = argument{name: "fullname", flag: "fullname", kind: word, help: "the person's name"}
	zone        = argument{name: "tzname", flag: "tz", kind: word, help: "the time zone, such as America/Chicago"}
	newSecret   = argument{name: "secret", kind: secret, required: true, help: "what the user proves to log in"}
	activities  = argument{name: "activity", flag: "activity", kind: words, help: "call, register, subscribe, publish or admin; may be repeated; without it all five", choices: granted}
)

// things is everything that can be administered, by hand or by programs: the one table that commands, flags, the object of
// arguments and the columns of results come from.
var things = []thing{
	{name: "user", help: "Who can log in", verbs: []verb{
		{name: "list", help: "List the users", example: "user list", columns: []string{"login", "fullname", "tzname", "roles"}},
		{name: "get", help: "Show a user", example: "user get greg", arguments: []argument{login}, columns: []string{"login", "fullname", "tzname", "roles"}},
		{name: "add", help: "Add a user, who then may log in, and nothing else unless roles are given",
			example: "user add greg --fullname Greg --tz America/Chicago", arguments: []argument{login, fullname, zone, newSecret,
				{name: "roles", flag: "role", kind: words, help: "a role that the user gets; may be repeated"}}, done: "added"},
		{name: "update", help: "Change a user", example: "user update greg --fullname 'Greg Smith'", arguments: []argument{login, fullname, zone,
			{name: "secret", flag: "new-secret", kind: secret, help: "ask for another secret"}}, done: "changed"},
		{name: "delete", help: "Take the login from a user, with all roles and open sessions", example: "user delete greg", arguments: []argument{login}, done: "deleted"},
		{name: "reseal", help: "Encrypt what logs users in with the first of the sealing keys, where it is not yet",
			example: "user reseal --database home.db --sealing-key new.jwk --sealing-key old.jwk", done: "sealed anew", local: true},
	}},
	{name: "role", help: "Names for what users may do", verbs: []verb{
		{name: "list", help: "List the roles", example: "role list", columns: []string{"name", "description", "bind", "users"}},
		{name: "get", help: "Show a role", example: "role get ops", arguments: []argument{named}, columns: []string{"name", "description", "bind", "users"}},
		{name: "add", help: "Add a role, bound to a topic: who has admin there administers the role", example: "role add ops --bind adm --description 'who is on call'",
			arguments: []argument{named, description, {name: "bind_topic", flag: "bind", kind: word, help: "the topic below role to bind it to; without it the topic role"}}, done: "added"},
		{name: "update", help: "Change the description of a role", example: "role update ops --description 'who is on call'", arguments: []argument{named, description}, done: "changed"},
		{name: "delete", help: "Delete a role, with its grants and its topic", example: "role delete ops", arguments: []argument{named}, done: "deleted"},
	}},
	{name: "userrole", help: "Which user has which role", verbs: []verb{
		{name: "add", help: "Give a user a role", example: "userrole add greg ops", arguments: []argument{login, role}, done: "added"},
		{name: "delete", help: "Take a role from a user", example: "userrole delete greg ops", arguments: []argument{login, role}, done: "deleted"},
	}},
	{name: "topic", help: "Names that things are published under and called by", verbs: []verb{
		{name: "list", help: "List the topics", example: "topic list", columns: []string{"name", "description", "roles"}},
		{name: "get", help: "Show a topic", example: "topic get com.home.garage", arguments: []argument{named}, columns: []string{"name", "description", "roles"}},
		{name: "add", help: "Add a topic, below one that you administer", example: "topic add com.home.garage --description 'the garage'", arguments: []argument{named, description}, done: "added"},
		{name: "update", help: "Change the description of a topic", example: "topic update com.home.garage --description 'both garages'", arguments: []argument{named, description}, done: "changed"},
		{name: "delete", help: "Delete a topic with what is granted there", example: "topic delete com.home.garage", arguments: []argument{named}, done: "deleted"},
	}},
	{name: "topicrole", help: "What a role may do on a topic and below", verbs: []verb{
		{name: "list", help: "List what is granted", example: "topicrole list --role ops", columns: []string{"topic", "role", "action", "allow"}, arguments: []argument{
			{name: "topic_name", flag: "topic", kind: word, help: "on that topic only"}, {name: "name", flag: "role", kind: word, help: "to that role only"}}},
		{name: "permission", help: "Say why a user may do something on a topic, or not", example: "topicrole permission greg com.home.garage.door call",
			arguments: []argument{login, onTopic, {name: "type_id", kind: word, required: true, help: "call, register, subscribe, publish or admin", choices: granted}}, columns: []string{"topic", "role", "allow"}},
		{name: "add", help: "Grant a role something on a topic and below", example: "topicrole add com.home.garage ops --activity call --activity subscribe",
			arguments: []argument{onTopic, role, activities}, done: "granted"},
		{name: "delete", help: "Take back what was granted", example: "topicrole delete com.home.garage ops --activity call", arguments: []argument{onTopic, role, activities}, done: "taken back"},
	}},
	{name: "session", alias: "ses", help: "Who is logged in", verbs: []verb{
		{name: "list", help: "List the open sessions", example: "session list", columns: []string{"session", "login", "fullname", "tzname", "start", "duration", "warning"}},
		{name: "get", help: "Show a session", example: "session get 4503599627370496", columns: []string{"session", "login", "fullname", "tzname", "start", "duration", "warning"},
			arguments: []argument{{name: "session", kind: number, required: true, help: "its number"}}},
		{name: "kill", help: "End a session, or all of a user", example: "session kill --login greg --reason 'left the company'", done: "ended", arguments: []argument{
			{name: "session", flag: "session", kind: number, help: "its number"}, {name: "login", flag: "login", kind: word, help: "all sessions of that user"},
			{name: "reason", flag: "reason", kind: word, help: "why, in one line, which the user is told"}}},
	}, never: map[string]string{"add": "sessions are opened by logging in", "delete": "to end a session use chansec session kill", "update": "a session is as it is"}},
	{name: "activity", help: "What was done, and what was refused", verbs: []verb{
		{name: "list", help: "List what sessions that are open did", example: "activity list --denied --login greg --since 24h",
			columns: []string{"id", "time", "session", "login", "action", "topic", "allow"}, arguments: []argument{
				{name: "filter.all", flag: "all", kind: truth, help: "everything: what was denied, sessions that are over, starts and ends"},
				{name: "filter.denied", flag: "denied", kind: truth, help: "what was denied, too"},
				{name: "filter.ended", flag: "ended", kind: truth, help: "of sessions that are over, too"},
				{name: "filter.login", flag: "login", kind: word, help: "of that user"},
				{name: "filter.session", flag: "session", kind: number, help: "of the session of that number"},
				{name: "filter.topic", flag: "topic", kind: word, help: "on that topic and below"},
				{name: "filter.action", flag: "action", kind: word, help: "call, register, publish or subscribe", choices: []string{"call", "register", "publish", "subscribe"}},
				{name: "filter.since", flag: "since", kind: moment, help: "not before this time; 24h is a day ago"},
				{name: "filter.until", flag: "until", kind: moment, help: "before this time"},
				{name: "filter.after", flag: "after", kind: number, help: "with a higher id"},
				{name: "filter.limit", flag: "limit", kind: number, help: "no more than so many"},
			}},
		{name: "get", help: "Show one row", example: "activity get 17", arguments: []argument{{name: "id", kind: number, required: true, help: "its number"}},
			columns: []string{"id", "time", "session", "login", "action", "topic", "allow", "reason"}},
		{name: "delete", help: "Delete what is older than a time", example: "activity delete 2026-01-01", arguments: []argument{{name: "before", kind: moment, required: true, help: "the time; 720h is that long ago"}}, done: "deleted"},
	}, never: map[string]string{"add": "activity is written by the router alone", "update": "activity is never changed"}},
	{name: "router", help: "Act on a router as a user, to try what is allowed", verbs: []verb{
		{name: "call", help: "Call a procedure", example: `router call com.home.garage.door.open '{"side":"left"}' -u greg`, arguments: []argument{
			{name: "procedure", kind: word, required: true, help: "the procedure"}, {name: "args", kind: values, help: "arguments, of JSON or plain texts"},
			{name: "kwargs", flag: "kwargs", kind: object, help: "keyword arguments, as an object of JSON"}}},
		{name: "publish", help: "Publish an event, and wait until the router took it", example: "router publish com.home.garage.light on -u greg", arguments: []argument{
			{name: "topic", kind: word, required: true, help: "the topic"}, {name: "args", kind: values, help: "arguments, of JSON or plain texts"},
			{name: "kwargs", flag: "kwargs", kind: object, help: "keyword arguments, as an object of JSON"}}, done: "published"},
	}},
}

// thingCommand returns the command of a thing, with one for each verb.
func (p *program) thingCommand(t thing) *cobra.Command {
	where := &target{program: p}
	group := p.group(t.name, t.help, "  chansec "+t.verbs[0].example)
	if t.alias != "" {
		group.Aliases = []string{t.alias}
	}
	where.flags(group)
	for _, v := range t.verbs {
		group.AddCommand(p.verbCommand(t, v, where))
	}
	for name, why := range t.never {
		group.AddCommand(&cobra.Command{Use: name, Hidden: true, Args: cobra.ArbitraryArgs, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return misused("see chansec "+t.name+" --help", "there is no chansec %s %s: %s", t.name, name, why)
			}})
	}
	return group
}

// verbCommand returns the command of a verb.
func (p *program) verbCommand(t thing, v verb, where *target) *cobra.Command {
	g := &given{program: p, verb: v, texts: map[string]*string{}, lists: map[string]*[]string{}, truths: map[string]*bool{}}
	var places []string
	var choices [][]string // of each place
	least := 0
	more := false
	for _, a := range v.arguments {
		if a.flag != "" || a.kind == secret {
			continue
		}
		title := strings.ToUpper(strings.ReplaceAll(a.name, "_name", ""))
		if a.kind == values {
			more = true
			continue
		}
		places, choices = append(places, title), append(choices, a.choices)
		if a.required {
			least++
		}
	}
	use := strings.Join(append([]string{v.name}, places...), " ")
	if more {
		use += " [ARG...]"
	}
	cmd := &cobra.Command{Use: use, Short: v.help, Example: "  chansec " + v.example, DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case where.args != "":
				if len(args) > 0 {
					return misused("give either all arguments by --args or none", "an argument beside --args: %s", quoted(args[0]))
				}
				return nil
			case more && len(args) > len(places):
				args = args[:len(places)]
			}
			return between(least, places...)(cmd, args)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) < len(choices) {
				return choices[len(args)], cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := where.settle(); err != nil {
				return err
			}
			if v.local && where.database == "" {
				return misused("say --database", "%s is done on a database, not by a router", cmd.CommandPath())
			}
			arguments, err := g.object(cmd, args, where)
			if err != nil {
				return err
			}
			return where.do(cmd.Context(), t, v, arguments)
		}}
	g.flags(cmd)
	return cmd
}

// given is what was said on the command line.
type given struct {
	program *program
	verb    verb
	texts   map[string]*string
	lists   map[string]*[]string
	truths  map[string]*bool
	secret  secretSource
}

func (g *given) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	for _, a := range g.verb.arguments {
		switch {
		case a.kind == secret:
			g.secret = secretSource{what: "secret of the user", flag: "new-secret-file", variable: "CHANSEC_NEW_SECRET", twice: true}
			f.StringVar(&g.secret.file, g.secret.flag, "", "a file with "+a.help+`; "-" is standard input; otherwise CHANSEC_NEW_SECRET or a prompt`)
			if a.flag != "" {
				g.truths[a.name] = f.Bool(a.flag, false, a.help)
			}
		case a.flag == "":
		case a.kind == words:
			g.lists[a.name] = f.StringArray(a.flag, nil, a.help)
		case a.kind == truth:
			g.truths[a.name] = f.Bool(a.flag, false, a.help)
		default:
			g.texts[a.name] = f.String(a.flag, "", a.help)
		}
		if a.flag != "" && a.kind != secret && a.kind != truth {
			completes(cmd, a.flag, a.choices...)
		}
	}
}

// object makes the object of arguments from what was given.
func (g *given) object(cmd *cobra.Command, args []string, where *target) (json.RawMessage, error) {
	members := map[string]any{}
	if where.args != "" {
		for _, a := range g.verb.arguments {
			if a.flag != "" && cmd.Flags().Changed(a.flag) && a.kind != secret {
				return nil, misused("give either all arguments by --args or none", "--%s beside --args", a.flag)
			}
		}
		var err error
		if members, err = g.written(cmd.Context(), where.args); err != nil {
			return nil, err
		}
	}
	put := func(name string, value any) {
		into, inner, ok := strings.Cut(name, ".")
		if !ok {
			members[name] = value
			return
		}
		m, _ := members[into].(map[string]any)
		if m == nil {
			m = map[string]any{}
			members[into] = m
		}
		m[inner] = value
	}
	for _, a := range g.verb.arguments {
		var text string
		what := "--" + a.flag
		switch {
		case a.kind == secret:
			asked := a.required || g.secret.file != "" || *g.truths[a.name]
			if _, there := members[a.name]; there || !asked {
				continue
			}
			s, err := g.program.secret(cmd.Context(), g.secret)
			if err != nil {
				return nil, err
			}
			put(a.name, s)
			continue
		case where.args != "":
			continue
		case a.kind == values:
			list := []any{}
			for _, arg := range args {
				list = append(list, value(arg))
			}
			put(a.name, list)
			continue
		case a.flag == "":
			what = strings.ToUpper(strings.ReplaceAll(a.name, "_name", ""))
			text, args = args[0], args[1:]
		case !cmd.Flags().Changed(a.flag):
			continue
		case a.kind == words:
			put(a.name, *g.lists[a.name])
			continue
		case a.kind == truth:
			put(a.name, *g.truths[a.name])
			continue
		default:
			text = *g.texts[a.name]
		}
		v, err := a.read(what, text)
		if err != nil {
			return nil, err
		}
		put(a.name, v)
	}
	return json.Marshal(members)
}

// read reads the text of an argument.
func (a argument) read(what, text string) (any, error) {
	if strings.ContainsRune(text, 0) {
		return nil, misused("", "%s %s: there is a NUL in it", what, quoted(text))
	}
	switch a.kind {
	case number:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, misused("", "%s %s: want a whole number", what, quoted(text))
		}
		return n, nil
	case moment:
		t, err := instant(strings.TrimPrefix(what, "--"), text, time.Now())
		if err == nil && t.IsZero() {
			err = misused("", "%s is empty: want a time", what)
		}
		return t, err
	case object:
		m, err := jsonObject([]byte(text))
		if err != nil {
			return nil, misused("", "%s is not an object of JSON, such as '{\"on\":true}'", what)
		}
		return m, nil
	default:
		return text, nil
	}
}

// value is a value of JSON, or else a text.
func value(arg string) any {
	d := json.NewDecoder(strings.NewReader(arg))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.Decode(new(any)) != io.EOF {
		return arg
	}
	return v
}

// jsonObject reads one object of JSON.
func jsonObject(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	if d.Decode(new(any)) != io.EOF || m == nil {
		return nil, errors.New("not one object")
	}
	return m, nil
}

// written reads the arguments that were given as an object: on the command line, or, so that it may hold a secret, in a file or on
// standard input.
func (g *given) written(ctx context.Context, args string) (map[string]any, error) {
	text, open := []byte(args), true
	if args == "-" || strings.HasPrefix(args, "@") {
		var err error
		if text, err = g.program.readFile(ctx, strings.TrimPrefix(args, "@"), 1<<20); err != nil {
			return nil, err
		}
		open = false
	}
	members, err := jsonObject(text)
	if err != nil {
		return nil, misused(`such as '{"name":"ops"}', "-" for standard input, or "@FILE"`, "--args is not one object of JSON")
	}
	known := map[string]string{}
	hidden := map[string]bool{}
	for _, a := range g.verb.arguments {
		name, _, _ := strings.Cut(a.name, ".")
		known[name] = name
		hidden[name] = a.kind == secret
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if _, ok := known[name]; !ok {
			hint := "there is " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
			if near, ok := nearest(name, known); ok {
				hint = "did you mean " + near + "?"
			}
			return nil, misused(hint, "--args: there is no argument %s", quoted(name))
		}
		if hidden[name] && open {
			return nil, misused("leave it out, to be asked or to set CHANSEC_NEW_SECRET, or give --args as - or @FILE",
				"a %s does not belong on the command line, which others can read", name)
		}
	}
	for _, a := range g.verb.arguments {
		if _, ok := members[a.name]; a.required && a.kind != secret && !ok {
			return nil, misused("", "--args: %s is missing", a.name)
		}
	}
	return members, nil
}

// present prints what an operation returned.
func (p *program) present(t thing, v verb, arguments, result json.RawMessage) error {
	if len(result) == 0 {
		result = json.RawMessage("null")
	}
	d := json.NewDecoder(bytes.NewReader(result))
	d.UseNumber()
	var decoded any
	if err := d.Decode(&decoded); err != nil {
		return fmt.Errorf("%s.%s returned what is no JSON", t.name, v.name)
	}
	if p.json {
		if decoded == nil && v.done != "" {
			decoded = map[string]bool{"ok": true}
		}
		return p.printJSON(decoded)
	}
	if len(v.columns) > 0 {
		var titles []string
		for _, c := range v.columns {
			titles = append(titles, strings.ToUpper(strings.ReplaceAll(c, "_", " ")))
		}
		switch list := decoded.(type) {
		case []any:
			var rows [][]string
			for _, item := range list {
				m, _ := item.(map[string]any)
				var row []string
				for _, c := range v.columns {
					row = append(row, plain(m[c]))
				}
				rows = append(rows, row)
			}
			return p.print(table(titles, rows))
		case map[string]any:
			var pairs []string
			for _, c := range v.columns {
				pairs = append(pairs, strings.ReplaceAll(c, "_", " "), plain(list[c]))
			}
			return p.print(fields(pairs...))
		case nil:
			return p.print(table(titles, nil))
		}
	}
	if v.done == "" {
		return p.printJSON(decoded)
	}
	done := v.done
	if m, ok := decoded.(map[string]any); ok && len(m) == 1 { // how many there were
		for _, n := range m {
			if n, ok := n.(json.Number); ok {
				done = n.String() + " " + done
			}
		}
	}
	members, _ := jsonObject(arguments)
	var about []string
	for _, a := range v.arguments {
		if text := plain(members[a.name]); text != "" && (a.kind == word || a.kind == number || a.kind == moment) && (a.flag == "" || t.name == "session") && a.name != "reason" {
			about = append(about, name(text))
		}
	}
	return p.print(strings.TrimSpace(t.name+" "+strings.Join(about, " ")) + ": " + done + "\n")
}

// plain is a value of JSON as people read it.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.UTC().Format(time.DateTime)
		}
		return v
	case []any:
		var list []string
		for _, item := range v {
			list = append(list, name(plain(item)))
		}
		return strings.Join(list, ", ")
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case json.Number:
		if f, err := v.Float64(); err == nil && strings.Contains(v.String(), ".") {
			return strconv.FormatFloat(f, 'f', 1, 64)
		}
		return v.String()
	}
	text, _ := json.Marshal(v)
	return string(text)
}
