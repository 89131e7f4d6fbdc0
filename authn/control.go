package authn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/script"
)

// The global permissions that administration takes: the first two to register an authentication handler, the others to look
// at a system authentication store and to change it (diffusion.md 8).
const (
	PermissionRegisterHandler = "REGISTER_HANDLER"
	PermissionAuthenticate    = "AUTHENTICATE"
	PermissionViewSecurity    = "VIEW_SECURITY"
	PermissionModifySecurity  = "MODIFY_SECURITY"
)

// The control handlers that the original has by default around its own.
const (
	BeforeSystemHandler = "before-system-handler"
	AfterSystemHandler  = "after-system-handler"
)

// MaxRegistrations is how many handlers may be registered under one name.
const MaxRegistrations = 1024

// Errors of Register.
var (
	// ErrRegistered: that session has a handler under that name already.
	ErrRegistered = errors.New("authn: the session has a handler of that name already")
	// ErrUnregistered: the registration was closed.
	ErrUnregistered = fmt.Errorf("authn: the handler was unregistered: %w", chansec.ErrClosed)
)

// AccessError says that somebody may not administrate. It is chansec.ErrPermission, and whatever Cause is.
type AccessError struct {
	Actor     string // the principal
	Operation string // what they may not do
	Needs     string // a permission, or what their credential does not reach
	Cause     error  // why the actor is nobody, or reaches no further; nil where they simply lack a permission
}

func (e *AccessError) Error() string {
	text := "authn: " + script.Quote(e.Actor) + " may not " + e.Operation + ": it takes " + e.Needs
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *AccessError) Unwrap() error { return e.Cause }

// Is makes the error chansec.ErrPermission.
func (e *AccessError) Is(target error) bool { return target == chansec.ErrPermission }

// Permits finds out whether somebody holds a global permission: the method Permits of a policy store, for example. An error
// means that it could not be found out.
type Permits func(p chansec.Principal, permission string) (bool, error)

// Registrant is who registers a handler: a session, or a part of the program.
type Registrant struct {
	ID     string // of the session. It is shown in the audit trail
	Caller chansec.Caller
}

// Controls are names in a chain under which sessions register handlers at run time (diffusion.md 9.2). It may be used from
// many goroutines at once.
//
// A name for which nobody has registered abstains. Where several have, they take turns. Whoever registers needs
// PermissionRegisterHandler and PermissionAuthenticate, and a credential that chansec.Unbounded takes: it is looked at again whenever
// their handler is asked, before and after, and whenever they change. A handler that is closed while it is asked has not
// answered: another one of that name is asked, and where there is none, the name abstains.
type Controls struct {
	permits Permits
	names   map[string]*control
	watches sync.WaitGroup

	mu     sync.Mutex // of registering
	closed bool
}

// NewControls makes control handlers of these names, or of BeforeSystemHandler and AfterSystemHandler if there are none.
func NewControls(permits Permits, names ...string) (*Controls, error) {
	if permits == nil {
		return nil, invalid("Permits", "nil", "who may register handlers")
	}
	if len(names) == 0 {
		names = []string{BeforeSystemHandler, AfterSystemHandler}
	}
	c := &Controls{permits: permits, names: map[string]*control{}}
	for _, name := range names {
		if chansec.CheckSystemID(name) != nil || c.names[name] != nil {
			return nil, invalid("name of a control handler", name, "another one, of 1 to 512 bytes of UTF-8 without control characters")
		}
		k := &control{controls: c, name: name, calls: newCalls(DefaultCalls)}
		k.registered.Store(&[]*Registration{})
		c.names[name] = k
	}
	return c, nil
}

// Format writes no more than what it is, as it changes.
func (c *Controls) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authn.Controls")) }

// Entry returns the control handler of a name for a chain. That of an unknown name has no handler, and no chain takes it.
func (c *Controls) Entry(name string) Entry {
	if k := c.names[name]; k != nil {
		return Entry{Name: name, Handler: k}
	}
	return Entry{Name: name}
}

// Around returns the original's default chain: its control handlers around another.
func (c *Controls) Around(e Entry) []Entry {
	return []Entry{c.Entry(BeforeSystemHandler), e, c.Entry(AfterSystemHandler)}
}

// Closer is a Handler that wants to know that it will not be asked any more.
type Closer interface {
	Handler
	// Closed is called once, also if the handler could not be registered. It must not wait for Controls.Close.
	Closed(cause error)
}

// Register registers a handler under a name until the registration is closed, or the registrant is nobody any more or
// loses a permission. Errors are AccessError, chansec.InvalidError for a name that is not configured, ErrRegistered,
// ErrUnregistered after Close, chansec.ErrLimit, and whatever the caller's Principal or the Permits failed with.
func (c *Controls) Register(who Registrant, name string, h Handler) (*Registration, error) {
	r := &Registration{who: who, handler: h, done: make(chan struct{})}
	if err := c.register(r, name); err != nil {
		if h != nil {
			r.drop(err)
		}
		return nil, err
	}
	return r, nil
}

func (c *Controls) register(r *Registration, name string) error {
	switch {
	case chansec.CheckSystemID(r.who.ID) != nil:
		return invalid("ID of a registrant", r.who.ID, "1 to 512 bytes of UTF-8 without control characters")
	case r.who.Caller == nil:
		return invalid("Caller of a registrant", "nil", "a Caller")
	case r.handler == nil:
		return invalid("Handler", "nil", "a handler")
	}
	changed, err := r.who.changed()
	if err != nil {
		return err
	}
	if err := c.check(r.who); err != nil {
		return err
	}
	r.control = c.names[name]
	if r.control == nil {
		return invalid("name of a control handler", name, "one that is configured")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := *r.control.registered.Load()
	switch {
	case c.closed:
		return ErrUnregistered
	case slices.ContainsFunc(all, func(o *Registration) bool { return o.who.ID == r.who.ID }):
		return ErrRegistered
	case len(all) >= MaxRegistrations:
		return fmt.Errorf("authn: at most %d handlers of one name: %w", MaxRegistrations, chansec.ErrLimit)
	}
	all = append(slices.Clip(all), r)
	r.control.registered.Store(&all)
	if changed != nil {
		c.watches.Go(func() { r.watch(changed) })
	}
	return nil
}

// Close closes all registrations, and waits until nobody is watched any more. The names abstain from then on. It never fails.
func (c *Controls) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, k := range c.names {
		for _, r := range *k.registered.Load() {
			r.drop(ErrUnregistered)
		}
	}
	c.watches.Wait()
	return nil
}

const registering = "register an authentication handler"

// check returns an error unless the registrant may have a handler now. One that is undecided says nothing against them.
func (c *Controls) check(who Registrant) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &chansec.UndecidedError{Operation: chansec.OpAuthenticate, Cause: newPanicError(r)}
		}
	}()
	p, err := chansec.Unbounded(who.Caller)
	if err != nil {
		return unreaching(p, registering, err)
	}
	for _, permission := range []string{PermissionRegisterHandler, PermissionAuthenticate} {
		switch held, err := c.permits(p, permission); {
		case err != nil:
			return fmt.Errorf("authn: nobody could say who may register handlers: %w: %w", chansec.ErrUndecided, undecided(err))
		case !held:
			return &AccessError{Actor: p.SystemID, Operation: registering, Needs: permission}
		}
	}
	return nil
}

// unreaching says that somebody may not administrate, whatever they hold, for an error of chansec.Unbounded.
func unreaching(p chansec.Principal, operation string, err error) error {
	if errors.Is(err, chansec.ErrUndecided) {
		return fmt.Errorf("authn: nobody could say who it is that wants to %s: %w", operation, undecided(err))
	}
	return &AccessError{p.SystemID, operation, "a credential that reaches everything", err}
}

// changed is the caller's Changed. A panic is a failure.
func (who Registrant) changed() (ch <-chan struct{}, err error) {
	defer recovered(&err)
	return who.Caller.Changed(), nil
}

// control is one name.
type control struct {
	controls   *Controls
	name       string
	calls      *calls
	registered atomic.Pointer[[]*Registration]
	turn       atomic.Uint64
}

// Format writes the name.
func (k *control) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "authn.Controls(%q)", k.name) }

// Authenticate asks one of those that are registered, and another one if that goes away meanwhile.
func (k *control) Authenticate(ctx context.Context, r *Request) (Response, error) {
	var gone []*Registration
	for turn := k.turn.Add(1); ; turn++ {
		next := k.next(turn, gone)
		if next == nil {
			return Response{Answer: Abstain, Reason: "no handler is registered"}, nil
		}
		answer, err := next.ask(ctx, r)
		if !errors.Is(err, errGone) {
			return answer, err
		}
		gone = append(gone, next)
	}
}

// next returns whose turn it is, apart from those that are gone.
func (k *control) next(turn uint64, gone []*Registration) *Registration {
	all := *k.registered.Load()
	for i := range uint64(len(all)) {
		if r := all[(turn+i)%uint64(len(all))]; !slices.Contains(gone, r) {
			return r
		}
	}
	return nil
}

// Registration is a handler in its place under a name.
type Registration struct {
	control *control
	who     Registrant
	handler Handler

	once sync.Once
	err  error // set before done is closed
	done chan struct{}
}

// ask asks the handler. errGone means that it was, or is now, closed.
func (r *Registration) ask(ctx context.Context, request *Request) (Response, error) {
	if err := r.check(); err != nil {
		return Response{}, err
	}
	answer, _, err := r.control.calls.start(ctx, r.handler, request, DefaultTimeout).wait(r.done)
	if gone := r.check(); gone != nil {
		return Response{}, gone
	}
	answer.Reason = said(r.who.ID, answer.Reason)
	return answer, err
}

// check looks whether the registrant may still have a handler, and drops it if not: errGone. Any other error means that
// nobody could say.
func (r *Registration) check() error {
	select {
	case <-r.done:
		return errGone
	default:
	}
	err := r.control.controls.check(r.who)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, chansec.ErrUndecided):
		return err
	}
	r.drop(err)
	return errGone
}

// watch checks whenever the registrant changes. The channel was taken before the last check.
func (r *Registration) watch(changed <-chan struct{}) {
	for changed != nil {
		select {
		case <-r.done:
			return
		case <-changed:
		}
		next, err := r.who.changed()
		if err != nil {
			r.drop(err)
			return
		}
		if r.check() == errGone {
			return
		}
		if next == changed { // a caller that is about to change for ever
			r.drop(invalid("Caller of a registrant", "", "one whose Changed is open until the next change"))
			return
		}
		changed = next
	}
}

// drop takes the handler out of its place, once, and tells it. It may answer by closing its registration.
func (r *Registration) drop(cause error) {
	first := false
	r.once.Do(func() {
		first = true
		if k := r.control; k != nil {
			k.controls.mu.Lock()
			rest := slices.DeleteFunc(slices.Clone(*k.registered.Load()), func(o *Registration) bool { return o == r })
			k.registered.Store(&rest)
			k.controls.mu.Unlock()
		}
		r.err = cause
		close(r.done)
	})
	if c, ok := r.handler.(Closer); ok && first {
		defer func() { _ = recover() }() // it is gone, whatever it thinks of that
		c.Closed(cause)
	}
}

// Format writes whose it is, and under which name.
func (r *Registration) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "authn.Registration(%q, %q)", r.control.name, r.who.ID)
}

// Close unregisters the handler. Whoever was asking it asks another, or goes on as if nobody were registered.
func (r *Registration) Close() error {
	r.drop(ErrUnregistered)
	return nil
}

// Done returns a channel that is closed when the handler is asked no more.
func (r *Registration) Done() <-chan struct{} { return r.done }

// Err returns why the handler is asked no more, or nil while it is.
func (r *Registration) Err() error {
	select {
	case <-r.done:
		return r.err
	default:
		return nil
	}
}
