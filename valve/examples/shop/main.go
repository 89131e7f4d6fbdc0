// Shop shows one permission file, permissions.yml, that decides about real channels: a chat with public and private rooms, a
// counter that may only grow, and a purchase that needs stock. Each attempt is followed by the rule that decided and by what
// its parts were. At the end the file is changed, and the rules follow.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/valve"
)

//go:embed permissions.yml
var permissions string

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// object is what messages are: JSON objects.
type object = map[string]any

// shop is the program's channels, and the rules that guard them all.
type shop struct {
	out   io.Writer
	file  string
	rules *explained

	lobby, board *chansec.BroadcastChannel[object] // rooms
	records      *chansec.KeyedChannel[object]     // the counter and the stock
	buy          *chansec.BroadcastChannel[object] // what is bought
}

// explained is rules that remember how they came to their last decision. It is for one caller at a time.
type explained struct {
	*valve.Rules
	last *valve.Explanation
}

// Decide decides by the rules.
func (e *explained) Decide(ctx context.Context, req chansec.Request) (chansec.Decision, error) {
	d, err := e.Rules.Decide(ctx, req)
	e.last = e.Explain(ctx, req, true)
	return d, err
}

// open loads the permission file and puts channels under it.
func open(ctx context.Context, out io.Writer, file string, opts []valve.Option) (*shop, error) {
	s := &shop{out: out, file: file}
	rules, err := valve.Open(file, valve.Config{
		Channels: []valve.Binding{ // the section that each channel belongs to
			{Channels: "chat/*", Section: valve.Event},
			{Channels: "shop", Section: valve.Record}, // each key is a record
			{Channels: "buy/*", Section: valve.RPC},
		},
		Lookup: valve.LookupFunc(s.lookup), // what _('shop/stock/tea') is
	}, opts...)
	if err != nil {
		return nil, err
	}
	s.rules = &explained{Rules: rules}
	security, err := chansec.Join(chansec.OpenSecurity{}, s.rules, chansec.OpenSecurity{}) // a login of package authn in earnest
	if err != nil {
		return nil, err
	}
	secured := chansec.WithSecurity(security)
	var failed [4]error
	s.lobby, failed[0] = chansec.NewBroadcast[object]("chat/public/lobby", secured)
	s.board, failed[1] = chansec.NewBroadcast[object]("chat/private/board", secured)
	s.records, failed[2] = chansec.NewKeyed[object]("shop", secured)
	s.buy, failed[3] = chansec.NewBroadcast[object]("buy/tea", secured)
	if err := errors.Join(failed[:]...); err != nil {
		return nil, err
	}
	return s, errors.Join(s.lobby.Start(ctx), s.board.Start(ctx), s.records.Start(ctx), s.buy.Start(ctx))
}

func (s *shop) close() error {
	return errors.Join(s.lobby.Close(), s.board.Close(), s.records.Close(), s.buy.Close())
}

// lookup returns a record that a rule refers to.
func (s *shop) lookup(ctx context.Context, name string) (any, bool, error) {
	m, err := s.records.As("rules").Get(ctx, strings.TrimPrefix(name, "shop/"))
	if errors.Is(err, chansec.ErrUnknownKey) {
		return nil, false, nil
	}
	return m.Content, err == nil, err
}

// told prints how an attempt ended, and why. Only an error that is no denial is returned.
func (s *shop) told(what string, err error) error {
	fmt.Fprintf(s.out, "%s\n  %s\n", what, strings.ReplaceAll(strings.TrimSpace(s.rules.last.String()), "\n", "\n  "))
	if errors.Is(err, chansec.ErrPermission) {
		return nil
	}
	return err
}

func run(ctx context.Context, out io.Writer, opts ...valve.Option) error {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "permissions.yml")
	if err := replace(file, permissions); err != nil {
		return err
	}
	s, err := open(ctx, out, file, opts)
	if err != nil {
		return err
	}
	for _, show := range []func(context.Context) error{s.chat, s.counter, s.purchase, s.reload} {
		if err := show(ctx); err != nil {
			return errors.Join(err, s.close())
		}
	}
	return s.close()
}

// replace puts a new file in the place of the old one at once, so that nobody reads half of it.
func replace(file, text string) error {
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// chat has rooms for everybody, and rooms for their members: the attributes of a principal are user.data.
func (s *shop) chat(ctx context.Context) error {
	fmt.Fprintln(s.out, "== A chat with public and private rooms")
	anna := chansec.StaticCaller(chansec.Principal{SystemID: "anna", Proof: chansec.ProofToken, Attributes: object{"rooms": []string{"board"}}})
	bob := chansec.StaticCaller(chansec.Principal{SystemID: "bob", Proof: chansec.ProofToken, Attributes: object{"rooms": []string{}}})

	_, err := s.lobby.For(bob).Write(ctx, object{"text": "hello"})
	if err := s.told("bob writes in the lobby", err); err != nil {
		return err
	}
	_, err = s.lobby.For(bob).Write(ctx, object{"text": " "})
	if err := s.told("bob writes nothing but a blank", err); err != nil {
		return err
	}
	_, err = s.board.For(anna).Write(ctx, object{"text": "secret"})
	if err := s.told("anna writes in the board's room", err); err != nil {
		return err
	}
	_, err = s.board.For(bob).Write(ctx, object{"text": "let me in"})
	if err := s.told("bob writes there", err); err != nil {
		return err
	}
	_, err = s.board.For(bob).Subscribe(ctx)
	return s.told("bob listens there", err)
}

// counter may only grow: oldData is what the write replaces. When two write at the same time, the second is decided about again.
func (s *shop) counter(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n== A counter that may only grow")
	for _, n := range []int{1, 2, 2} {
		_, err := s.records.As("bob").Set(ctx, "visits", object{"n": n})
		if err := s.told(fmt.Sprintf("bob sets the counter to %d", n), err); err != nil {
			return err
		}
	}
	return nil
}

// purchase needs stock: _() is a record. Whoever fulfils it lowers the stock, which no rule lets fall below 0.
func (s *shop) purchase(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n== A purchase that needs stock")
	_, err := s.records.As("bob").Set(ctx, "stock/tea", object{"left": 1000})
	if err := s.told("bob makes tea appear", err); err != nil {
		return err
	}
	_, err = s.records.As("warehouse").Set(ctx, "stock/tea", object{"left": 3})
	if err := s.told("the warehouse stores 3 packets", err); err != nil {
		return err
	}
	_, err = s.buy.As("bob").Write(ctx, object{"amount": 2})
	if err := s.told("bob buys 2", err); err != nil {
		return err
	}
	_, err = s.records.As("warehouse").Set(ctx, "stock/tea", object{"left": 1})
	if err := s.told("the warehouse sends them", err); err != nil {
		return err
	}
	_, err = s.buy.As("bob").Write(ctx, object{"amount": 2})
	return s.told("bob buys 2 more", err)
}

// reload changes the file while the channels are in use.
func (s *shop) reload(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n== The file changes")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error)
	go func() {
		defer close(loaded)
		_ = s.rules.Watch(ctx, 10*time.Millisecond, func(err error) {
			select {
			case loaded <- err:
			case <-ctx.Done():
			}
		})
	}()
	<-loaded // as it is
	if err := replace(s.file, "record: [broken"); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "a broken file is not put in force:", <-loaded)
	if err := replace(s.file, strings.Replace(permissions, "data.n > oldData.n", "data.n >= oldData.n", 1)); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "a good one is:", <-loaded)
	_, err := s.records.As("bob").Set(ctx, "visits", object{"n": 2})
	err = s.told("bob sets the counter to 2, which it is", err)
	stop()
	for range loaded { // until Watch has ended
	}
	return err
}
