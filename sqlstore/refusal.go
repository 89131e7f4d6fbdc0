package sqlstore

import (
	"errors"
	"strconv"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// The kinds of what users and the Administration refuse, with the names of sqlauth.md 6 and 12.
const (
	NotAuthorized Kind = "not-authorized" // the caller may not call the operation. It is chansec.ErrPermission
	Invalid       Kind = "invalid"        // arguments that make no sense. It is chansec.ErrInvalid
	NotFound      Kind = "not-found"
	Exists        Kind = "exists"
	NoAdminRole   Kind = "no-admin-role"  // the caller does not administer the role. It is chansec.ErrPermission
	NoAdminTopic  Kind = "no-admin-topic" // nor the topic. It is chansec.ErrPermission
	InUse         Kind = "in-use"         // the topic of a role
	Denied        Kind = "denied"         // who is no active user has no session. It is chansec.ErrPermission
	NoSession     Kind = "no-session"     // it is over, or never was
)

// Is makes a kind the error of chansec that it is a case of, and the kind of a policy of the same name.
func (k Kind) Is(target error) bool {
	if of, ok := target.(policy.Kind); ok {
		return string(of) == string(k)
	}
	switch k {
	case NotAuthorized, NoAdminRole, NoAdminTopic, Denied:
		return target == chansec.ErrPermission
	case Invalid, InvalidArgument, InvalidText:
		return target == chansec.ErrInvalid
	}
	return false
}

// no says what was refused, of which the value came from outside.
func no(kind Kind, what, value, want string) error {
	if value != "" {
		value = quote(value)
	}
	return refuse(kind, what, value, want)
}

func invalid(what, value, want string) error { return no(Invalid, what, value, want) }

// quote shortens and quotes what came from outside, so that an error stays one short line.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "... (" + strconv.Itoa(len(s)) + " bytes)"
	}
	return strconv.QuoteToASCII(s)
}

// policyKinds are the kinds of what a policy refuses.
var policyKinds = []struct {
	policy policy.Kind
	kind   Kind
}{
	{policy.NoAdminRole, NoAdminRole}, {policy.NoAdminTopic, NoAdminTopic}, {policy.NotFound, NotFound}, {policy.Exists, Exists},
	{policy.InUse, InUse}, {policy.InvalidArgument, Invalid}, {policy.InvalidPath, Invalid}, {policy.UnknownPermission, Invalid},
	{policy.Limit, Invalid}, {policy.Locked, NotAuthorized}, {policy.LastAdministrator, InUse},
}

// kinded gives what the policy refused the kind that it has here. Other errors stay as they are.
func kinded(err error) error {
	if _, ok := errors.AsType[Kind](err); ok || err == nil || errors.Is(err, chansec.ErrUndecided) {
		return err
	}
	for _, row := range policyKinds {
		if errors.Is(err, row.policy) {
			return &Refusal{row.kind, err}
		}
	}
	if errors.Is(err, chansec.ErrPermission) {
		return &Refusal{NotAuthorized, err}
	}
	return err
}

// Refusal is what the policy refused, with its kind among those of a store. It is both.
type Refusal struct {
	Kind Kind
	Err  error
}

func (e *Refusal) Error() string { return e.Err.Error() }

// Unwrap returns the kind and what the policy says.
func (e *Refusal) Unwrap() []error { return []error{e.Kind, e.Err} }

// KindOf returns why something was refused, for those who tell others: one of the kinds of sqlauth.md, or false where an
// error is none of them, and for nobody but a log.
func KindOf(err error) (Kind, bool) {
	kind, _ := errors.AsType[Kind](kinded(err))
	name := kind.ErrorName()
	return Kind(name), name != ""
}

// ErrorName returns the name by which callers are told of a refusal (sqlauth.md 12), and nothing for what is for nobody but a
// log.
func (k Kind) ErrorName() string {
	switch k {
	case NotAuthorized, Invalid, NotFound, Exists, NoAdminRole, NoAdminTopic, InUse, Denied, NoSession:
		return string(k)
	case InvalidArgument, InvalidText:
		return string(Invalid)
	}
	return ""
}
