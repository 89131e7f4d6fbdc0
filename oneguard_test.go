package chansec

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/memory"
)

// spy is the backend in memory, with a note of every call, and with hooks in front of a call and behind it.
type spy struct {
	driver.Backend[[]byte]
	channelID string
	config    driver.Config

	mu    sync.Mutex
	notes []string // "driver Append", and what a recording audit sink adds: "allowed write of x on room"
	hooks map[string]func()
}

func newSpy() *spy { return &spy{hooks: make(map[string]func())} }

func (s *spy) open(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
	var err error
	s.channelID, s.config = id, cfg
	s.Backend, err = memory.Open[[]byte](ctx, id, cfg)
	return s, err
}

func (s *spy) option() Option { return WithBackend(s.open) }

// audit notes every decision.
func (s *spy) audit() Option {
	return WithAudit(AuditFunc(func(_ context.Context, e Event) error {
		s.note(fmt.Sprint(e.Outcome, " ", e.Operation, " of ", e.SystemID, " on ", e.ChannelID))
		return nil
	}))
}

func (s *spy) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, text)
}

// noted returns the notes so far and begins anew.
func (s *spy) noted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.notes
	s.notes = nil
	return list
}

// driverCalls are the driver's methods among the notes.
func driverCalls(notes []string) (list []string) {
	for _, n := range notes {
		if m, ok := strings.CutPrefix(n, "driver "); ok {
			list = append(list, m)
		}
	}
	return list
}

// before and after set what is done in front of the next calls of a method, and behind them, when the driver is done and
// its caller does not have the result yet.
func (s *spy) before(method string, f func()) { s.hook("before "+method, f) }
func (s *spy) after(method string, f func())  { s.hook("after "+method, f) }

// once makes a hook that does something the first time only.
func once(f func()) func() {
	var o sync.Once
	return func() { o.Do(f) }
}

func (s *spy) hook(when string, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[when] = f
}

func (s *spy) run(when string) {
	s.mu.Lock()
	f := s.hooks[when]
	s.mu.Unlock()
	if f != nil {
		f()
	}
}

// call notes a call and returns what to do behind it.
func (s *spy) call(method string) func() {
	s.note("driver " + method)
	s.run("before " + method)
	return func() { s.run("after " + method) }
}

func (s *spy) Append(ctx context.Context, h driver.Head, v []byte) (driver.Stamp, error) {
	defer s.call("Append")()
	return s.Backend.Append(ctx, h, v)
}

func (s *spy) AppendIf(ctx context.Context, h driver.Head, v []byte, last uint64) (driver.Stamp, error) {
	defer s.call("AppendIf")()
	return s.Backend.AppendIf(ctx, h, v, last)
}

func (s *spy) Last(ctx context.Context, key string) (driver.Entry[[]byte], error) {
	defer s.call("Last")()
	return s.Backend.Last(ctx, key)
}

func (s *spy) Open(ctx context.Context, v driver.View, from driver.From) (driver.Reader[[]byte], error) {
	defer s.call("Open")()
	r, err := s.Backend.Open(ctx, v, from)
	if err != nil {
		return nil, err
	}
	return &spyReader{r, s}, nil
}

func (s *spy) Claim(ctx context.Context, who driver.Consumer, box string, limit int, timeout time.Duration, dst []driver.Claimed[[]byte]) ([]driver.Claimed[[]byte], error) {
	defer s.call("Claim")()
	return s.Backend.Claim(ctx, who, box, limit, timeout, dst)
}

func (s *spy) WakeClaim(box string, ch chan<- struct{}) (func(), bool) {
	defer s.call("WakeClaim")()
	return s.Backend.WakeClaim(box, ch)
}

func (s *spy) Ack(ctx context.Context, name string, r driver.Receipt) (bool, error) {
	defer s.call("Ack")()
	return s.Backend.Ack(ctx, name, r)
}

func (s *spy) Nack(ctx context.Context, name string, r driver.Receipt) (bool, error) {
	defer s.call("Nack")()
	return s.Backend.Nack(ctx, name, r)
}

func (s *spy) Extend(ctx context.Context, name string, r driver.Receipt, timeout time.Duration) (time.Time, bool, error) {
	defer s.call("Extend")()
	return s.Backend.Extend(ctx, name, r, timeout)
}

func (s *spy) Release(ctx context.Context, who driver.Consumer) (int, error) {
	defer s.call("Release")()
	return s.Backend.Release(ctx, who)
}

func (s *spy) Remove(ctx context.Context, ids []uuid.UUID) (int, error) {
	defer s.call("Remove")()
	return s.Backend.Remove(ctx, ids)
}

func (s *spy) Evict(ctx context.Context, before time.Time, keep int) (int, error) {
	defer s.call("Evict")()
	return s.Backend.Evict(ctx, before, keep)
}

func (s *spy) Clear(ctx context.Context) (int, error) {
	defer s.call("Clear")()
	return s.Backend.Clear(ctx)
}

func (s *spy) Len(ctx context.Context) (int, error) {
	defer s.call("Len")()
	return s.Backend.Len(ctx)
}

func (s *spy) Close() error {
	defer s.call("Close")()
	return s.Backend.Close()
}

type spyReader struct {
	driver.Reader[[]byte]
	s *spy
}

func (r *spyReader) Next(ctx context.Context, limit int) (driver.Batch[[]byte], error) {
	defer r.s.call("Reader.Next")()
	return r.Reader.Next(ctx, limit)
}

func (r *spyReader) Commit(n int) {
	defer r.s.call("Reader.Commit")()
	r.Reader.Commit(n)
}

func (r *spyReader) Wake(ch chan<- struct{}) bool {
	defer r.s.call("Reader.Wake")()
	return r.Reader.Wake(ch)
}

func (r *spyReader) Close() {
	defer r.s.call("Reader.Close")()
	r.Reader.Close()
}

func TestSpyTellsOfEveryMethodOfADriver(t *testing.T) {
	s := newSpy()
	_, err := aMailbox.try("room", s.option())
	require.NoError(t, err)
	ctx := t.Context()
	r, err := s.Open(ctx, driver.View{}, driver.From{})
	require.NoError(t, err)
	_, _ = r.Next(ctx, 1)
	r.Commit(0)
	r.Wake(make(chan struct{}, 1))
	r.Close()
	_, _ = s.Append(ctx, driver.Head{Key: "k"}, nil)
	_, _ = s.AppendIf(ctx, driver.Head{Key: "k"}, nil, 1)
	_, _ = s.Last(ctx, "k")
	_, _ = s.Claim(ctx, driver.Consumer{}, "", 1, time.Hour, nil)
	_, _ = s.WakeClaim("", make(chan struct{}, 1))
	_, _ = s.Ack(ctx, "", driver.Receipt{})
	_, _ = s.Nack(ctx, "", driver.Receipt{})
	_, _, _ = s.Extend(ctx, "", driver.Receipt{}, time.Hour)
	_, _ = s.Release(ctx, driver.Consumer{})
	_, _ = s.Remove(ctx, nil)
	_, _ = s.Evict(ctx, time.Time{}, 1)
	_, _ = s.Clear(ctx)
	_, _ = s.Len(ctx)
	_ = s.Close()
	want := []string{"Open", "Reader.Next", "Reader.Commit", "Reader.Wake", "Reader.Close", "Append", "AppendIf", "Last",
		"Claim", "WakeClaim", "Ack", "Nack", "Extend", "Release", "Remove", "Evict", "Clear", "Len", "Close"}
	require.Equal(t, want, driverCalls(s.noted()))
}

// Law 3, as seen from the driver: it is called only after an allow event of the very operation that is under way.
func TestDriverIsReachedOnlyAfterAnAllowOfTheSameOperation(t *testing.T) {
	for _, k := range everyKind {
		t.Run(k.name, func(t *testing.T) {
			s := newSpy()
			ch := k.started(t, WithSecurity(aclOf(t, ACLAdmin("boss"))), s.option(), s.audit())
			for _, op := range operationsOf(ch.as("boss")) {
				ctx, cancel := context.WithCancel(t.Context())
				s.after("WakeClaim", cancel) // ClaimNext on an empty queue waits for this
				s.noted()
				_ = op.do(ctx)
				cancel()
				allowed := false
				for _, n := range s.noted() {
					switch what, ok := strings.CutPrefix(n, "driver "); {
					case n == fmt.Sprint("allowed ", op.op, " of boss on room"):
						allowed = true
					case !ok:
						require.Fail(t, "another decision than the operation's", "%s: %s", op.name, n)
					default:
						require.True(t, allowed, "%s reached the driver's %s before it was allowed", op.name, what)
					}
				}
				require.True(t, allowed, "%s was not decided", op.name)
			}
		})
	}
}

func TestLeaseFetchesOnlyAfterItsSubscriptionWasAllowed(t *testing.T) {
	s := newSpy()
	ch := aBroadcast.started(t, WithSecurity(aclOf(t, ACLWrite("w"))), s.option(), s.audit())
	lease, err := ch.as("w").(Subscriber[string]).Subscribe(t.Context())
	require.NoError(t, err)
	_, err = ch.as("w").Write(t.Context(), "m")
	require.NoError(t, err)
	for range lease.Messages(t.Context()) {
		break
	}
	notes := s.noted()
	require.Less(t, slices.Index(notes, "allowed subscribe of w on room"), slices.Index(notes, "driver Open"))
	require.Less(t, slices.Index(notes, "driver Open"), slices.Index(notes, "driver Reader.Next"))
	require.Equal(t, 1, strings.Count(strings.Join(notes, "\n"), "allowed subscribe"), "a decision that is used again makes no event")
}

// rule says which functions of the package, in files that are not tests, may do what only the one guard and what stands
// behind it may do, and why.
type rule struct {
	what    string
	allowed map[string]string // function -> reason
}

// ruled are the rules of law 3, by what the walk over the source finds.
var ruled = map[string]rule{
	"driver": {"calls a method of a driver", map[string]string{
		"(core).Close":          "ends the backend with the channel",
		"(port).write":          "after authorize",
		"(core).open":           "for read, after authorize",
		"(port).read":           "after authorize; closes readers",
		"(port).fetch":          "for read, after authorize",
		"(port).subscribeFrom":  "after authorize",
		"(wirePort).write":      "after authorize of every message",
		"(wirePort).follow":     "the place of a subscription, after authorize",
		"(wirePort).list":       "after authorize",
		"(core).release":        "gives back what a cut worker holds, which needs no right",
		"(port).take":           "for Claim and ClaimNext, after authorize",
		"(port).await":          "for ClaimNext, after authorize",
		"(core).settle":         "for acknowledge, nack and extend, after authorize",
		"(core).look":           "what is replaced, for who decides by it; otherwise after authorize",
		"(canKeep).Get":         "after authorize",
		"(canKeep).store":       "for Set and SetIf, after authorize",
		"(canKeep).take":        "for Delete, after authorize",
		"(canHost).Clear":       "after authorize",
		"(canHost).EvictBefore": "after authorize",
		"(canHost).EvictBeyond": "after authorize",
		"(canHost).Remove":      "after authorize",
		"(canHost).RemoveFunc":  "after authorize",
		"(canHost).Len":         "after authorize",
		"(lease).Messages":      "under a watch; every message is checked before it is yielded",
		"(lease).deliver":       "moves the place of a lease",
		"(lease).onCut":         "closes the reader of a lease that ended",
		"(encoded).Append":      "stands between the core and a driver of bytes",
		"(encoded).AppendIf":    "stands between the core and a driver of bytes",
		"(encoded).Last":        "stands between the core and a driver of bytes",
		"(encoded).Open":        "stands between the core and a driver of bytes",
		"(encoded).Claim":       "stands between the core and a driver of bytes",
		"(encodedReader).Next":  "stands between the core and a driver of bytes",
	}},
	"settle": {"settles a claim", map[string]string{
		"(port).settleAll": "after authorize",
		"(port).settleOne": "after authorize",
	}},
	"authorizer": {"asks an authorizer", map[string]string{
		"(guard).ask":            "the one place that asks for the guard",
		"(JWTSecurity).askLocal": "JWTLocal is a part of that security",
	}},
	"authenticator": {"asks an authenticator", map[string]string{
		"(guard).askWho": "the one place that asks for the guard",
	}},
	"PermissionError": {"makes a PermissionError", map[string]string{
		"denied": "the one maker",
	}},
	"denied": {"denies", map[string]string{
		"(guard).deny":                 "of a fresh decision",
		"(guard).another":              "the caller became another during the operation or lease",
		"(watch).ask":                  "the time is over during a lease",
		"(JWTSecurity).AuthorizeToken": "the check of a token that reaches no driver",
	}},
	"Event": {"makes an audit event", map[string]string{
		"(guard).audited":      "one for a fresh decision",
		"(guard).authenticate": "one for a failed authentication",
	}},
}

func TestOneGuard(t *testing.T) {
	found := walk(t, "")
	require.Empty(t, violations(found))
	for what, r := range ruled {
		for f := range r.allowed {
			require.Contains(t, found[what], f, "%s does not need leave any more, so take it out of the rules", f)
		}
	}
}

// A check that cannot fail checks nothing.
func TestOneGuardFindsWhoGoesAroundIt(t *testing.T) {
	const around = `package chansec

import (
	"context"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

func (p *port[T]) Peek(ctx context.Context) (int, error) { return p.c.backend.Len(ctx) }

func (p *port[T]) tail(r driver.Reader[body[T]]) { next := r.Next; _, _ = next(context.Background(), 1) }

func quickly(ctx context.Context, z ChannelSecurity, d Decider) {
	_, _ = z.AuthorizeRead(ctx, "a", "b")
	_, _ = d.Decide(ctx, Request{})
	_, _ = z.Authenticate(ctx, "")
	_ = &PermissionError{}
	_ = denied("a", "b", OpRead, "", nil)
	_ = Event{}
}

func (p *port[T]) ackAnyway(ctx context.Context, id uuid.UUID) {
	_, _ = p.c.settle(ctx, OpAcknowledge, "a", Receipt{ID: id})
}
`
	require.ElementsMatch(t, []string{
		"(port).Peek calls a method of a driver",
		"(port).tail calls a method of a driver",
		"quickly asks an authorizer",
		"quickly asks an authenticator",
		"quickly makes a PermissionError",
		"quickly denies",
		"quickly makes an audit event",
		"(port).ackAnyway settles a claim",
	}, violations(walk(t, around)))
}

func violations(found map[string][]string) (list []string) {
	for what, functions := range found {
		for _, f := range functions {
			if _, ok := ruled[what].allowed[f]; !ok {
				list = append(list, f+" "+ruled[what].what)
			}
		}
	}
	return list
}

// walk type-checks the package, with one more file if there is one, and returns which functions do what the rules are about.
func walk(t *testing.T, more string) map[string][]string {
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			files = append(files, f)
		}
	}
	if more != "" {
		f, err := parser.ParseFile(fset, "more.go", more, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object), Types: make(map[ast.Expr]types.TypeAndValue)}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", exported(t))}
	_, err = conf.Check("github.com/chansec/chansec", fset, files, info)
	require.NoError(t, err)

	found := make(map[string][]string)
	for _, file := range files {
		for _, decl := range file.Decls {
			in := "package level"
			if f, ok := decl.(*ast.FuncDecl); ok {
				in = nameOf(f)
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				what := ""
				switch n := n.(type) {
				case *ast.SelectorExpr:
					what = methodOf(info.Uses[n.Sel])
				case *ast.CallExpr:
					if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "denied" {
						what = "denied"
					}
				case *ast.CompositeLit:
					if named, ok := info.Types[n].Type.(*types.Named); ok {
						if _, ok := ruled[named.Obj().Name()]; ok {
							what = named.Obj().Name()
						}
					}
				}
				if what != "" && !slices.Contains(found[what], in) {
					found[what] = append(found[what], in)
				}
				return true
			})
		}
	}
	return found
}

// methodOf returns which rule is about a method, if one is.
func methodOf(o types.Object) string {
	f, ok := o.(*types.Func)
	if !ok || f.Signature().Recv() == nil {
		return ""
	}
	of := f.Signature().Recv().Type()
	if p, ok := of.(*types.Pointer); ok {
		of = p.Elem()
	}
	named, ok := of.(*types.Named)
	if !ok || named.Obj().Pkg() == nil { // error's
		return ""
	}
	switch name := named.Obj().Name(); {
	case strings.HasSuffix(named.Obj().Pkg().Path(), "/driver"):
		if name == "Backend" || name == "Reader" {
			return "driver"
		}
	case name == "Authorizer" || name == "Decider":
		return "authorizer"
	case name == "Authenticator":
		return "authenticator"
	case name == "core" && f.Name() == "settle":
		return "settle"
	}
	return ""
}

// nameOf returns (type).method or function, without type parameters.
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	e := f.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return "(" + x.Name + ")." + f.Name.Name
		default:
			return fmt.Sprintf("(%T).%s", x, f.Name.Name)
		}
	}
}

// exported finds the export data of what the package imports, as the compiler left it.
func exported(t *testing.T) func(path string) (io.ReadCloser, error) {
	of, err := exports()
	require.NoError(t, err, "this test needs the go command")
	return func(path string) (io.ReadCloser, error) { return os.Open(of[path]) }
}

var exports = sync.OnceValues(func() (map[string]string, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", ".").Output()
	if err != nil {
		return nil, err
	}
	of := make(map[string]string)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); err == io.EOF {
			return of, nil
		} else if err != nil {
			return nil, err
		}
		of[p.ImportPath] = p.Export
	}
})
