package authn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/script"
)

// Bounds of a store.
const (
	maxPrincipals = 100_000
	maxTrusted    = 1000 // that are trusted
	maxItems      = 1000 // of one list
	maxRegexBytes = 1000
)

// Tx is a change in the making. Its methods are the commands of scripts (diffusion.md 7.3); each acts on what those before
// it left. The first that fails makes the whole transaction fail, whatever the function that got the Tx returns. A Tx is
// for one goroutine, until that function returns.
type Tx struct {
	systemState
	store   *SystemStore
	ctx     context.Context // of the call that the Tx is a part of
	actor   Actor
	loading bool // a file, where passwords may be hashes
	ended   bool
	changed bool
	err     error
	log     script.Lines // what was done, without passwords
}

// Format writes what it is and nothing of it, whatever the verb.
func (*Tx) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "change of a system authentication store")
}

func (tx *Tx) begin(from *systemState) {
	tx.systemState = *from
	tx.principals, tx.trusted = maps.Clone(from.principals), maps.Clone(from.trusted)
	if tx.principals == nil {
		tx.principals = map[string]*systemPrincipal{}
	}
	if tx.trusted == nil {
		tx.trusted = map[string]*validation{}
	}
}

// fail keeps the first failure.
func (tx *Tx) fail(err error) error {
	if tx.err == nil {
		tx.err = err
	}
	return err
}

// over reports a transaction that is done.
func (tx *Tx) over() error {
	switch {
	case tx.ended:
		return refuse(Ended, "transaction", "over", "a use before Update returns")
	case tx.err != nil:
		return tx.err
	}
	if err := tx.ctx.Err(); err != nil {
		return tx.fail(err)
	}
	return nil
}

// does notes a command, and returns why it cannot be done.
func (tx *Tx) does(parts ...any) error {
	if err := tx.over(); err != nil {
		return err
	}
	if !tx.loading && tx.store.config.Audit != nil {
		if slices.ContainsFunc(parts, func(p any) bool { return script.Unwritable(p) != nil }) {
			parts = []any{script.Word("# a command that no script can hold")}
		}
		tx.log.Add(parts...)
	}
	return nil
}

// Expect fails with Conflict unless the store was at that revision when the transaction began.
func (tx *Tx) Expect(revision uint64) error {
	if err := tx.over(); err != nil {
		return err
	}
	if tx.revision != revision {
		return tx.fail(refuse(Conflict, "revision", strconv.FormatUint(tx.revision, 10), strconv.FormatUint(revision, 10)))
	}
	return nil
}

// Revision returns the revision at which the transaction began.
func (tx *Tx) Revision() uint64 { return tx.revision }

// AddPrincipal adds a principal with a password of 1 to 1024 bytes of UTF-8 without control characters. It takes 0.1 s or
// more to hash that.
func (tx *Tx) AddPrincipal(principal, password string, roles ...string) error {
	return tx.AddLockedPrincipal(principal, password, "", roles...)
}

// AddLockedPrincipal is AddPrincipal of one that only lockedBy may change; the empty name locks nothing.
func (tx *Tx) AddLockedPrincipal(name, password, lockedBy string, roles ...string) error {
	parts := []any{script.Word("add principal"), name, script.Redacted}
	if len(roles) > 0 {
		parts = append(parts, roles)
	}
	if lockedBy != "" {
		parts = append(parts, script.Word("locked by"), lockedBy)
	}
	if err := tx.does(parts...); err != nil {
		return err
	}
	switch {
	case chansec.CheckSystemID(name) != nil:
		return tx.fail(refuse(InvalidArgument, "principal", name, "1 to 512 bytes of UTF-8 without control characters"))
	case tx.principals[name] != nil:
		return tx.fail(refuse(PrincipalExists, "principal", name, "one that is not there"))
	case len(tx.principals) >= maxPrincipals:
		return tx.fail(refuse(Limit, "principals", strconv.Itoa(len(tx.principals)+1), "at most "+strconv.Itoa(maxPrincipals)))
	case lockedBy != "" && chansec.CheckSystemID(lockedBy) != nil:
		return tx.fail(refuse(InvalidArgument, "locking principal", lockedBy, "the name of a principal, or '' for none"))
	}
	list, err := roleNames(roles)
	if err != nil {
		return tx.fail(err)
	}
	hash, err := tx.hash(password)
	if err != nil {
		return tx.fail(err)
	}
	tx.principals[name] = &systemPrincipal{hash, list, lockedBy}
	tx.changed = true
	return nil
}

// roleNames checks names of roles and makes a sorted set of them.
func roleNames(roles []string) ([]string, error) {
	for _, name := range roles {
		if chansec.CheckSystemID(name) != nil {
			return nil, refuse(InvalidArgument, "role", name, "1 to 512 bytes of UTF-8 without control characters")
		}
	}
	return sortedSet(roles)
}

func sortedSet(items []string) ([]string, error) {
	list := slices.Compact(slices.Sorted(slices.Values(items)))
	if len(list) > maxItems {
		return nil, refuse(Limit, "items of a list", strconv.Itoa(len(list)), "at most "+strconv.Itoa(maxItems))
	}
	return append([]string{}, list...), nil
}

// hash hashes a password. Of a file, it may be a hash already: there whatever begins like one is nothing else.
func (tx *Tx) hash(password string) (*Password, error) {
	if tx.loading && isMarked(password) {
		h, err := ParsePassword(password)
		if err != nil || h.iterations < tx.store.config.leastIterations() {
			return nil, refuse(InvalidArgument, "hash of a password", "",
				"$pbkdf2-sha256$i=<iterations>$<salt>$<hash> with "+strconv.Itoa(tx.store.config.leastIterations())+" to "+strconv.Itoa(MaxIterations)+" iterations")
		}
		return &h, nil
	}
	if password == "" || len(password) > MaxPassword || !script.IsText(password) {
		return nil, refuse(InvalidArgument, "password", "", "1 to "+strconv.Itoa(MaxPassword)+" bytes of UTF-8 without control characters")
	}
	var h *Password
	err := tx.store.hashing.do(tx.ctx, func() (err error) {
		h, err = newPassword(password, tx.store.config.Iterations)
		return err
	})
	return h, err
}

// isMarked reports whether a password of a file says that it is a hash: it begins with the name of a method between $.
func isMarked(password string) bool {
	if password == "" || password[0] != '$' {
		return false
	}
	name, _, found := strings.Cut(password[1:], "$")
	return found && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// edits returns a principal that the actor may change.
func (tx *Tx) edits(name string) (*systemPrincipal, error) {
	p, err := tx.named(name)
	if err != nil {
		return nil, err
	}
	if p.lockedBy != "" && !tx.actor.root && p.lockedBy != tx.actor.principal.SystemID {
		return nil, tx.fail(refuse(Locked, "principal", name, "its locking principal "+script.Quote(p.lockedBy)))
	}
	return p, nil
}

func (tx *Tx) named(name string) (*systemPrincipal, error) {
	p := tx.principals[name]
	if p == nil {
		return nil, tx.fail(refuse(NoSuchPrincipal, "principal", name, "one that is in the store"))
	}
	return p, nil
}

// RemovePrincipal removes a principal.
func (tx *Tx) RemovePrincipal(principal string) error {
	if err := tx.does(script.Word("remove principal"), principal); err != nil {
		return err
	}
	if _, err := tx.edits(principal); err != nil {
		return err
	}
	delete(tx.principals, principal)
	tx.changed = true
	return nil
}

// AssignRoles replaces the roles of a principal.
func (tx *Tx) AssignRoles(name string, roles ...string) error {
	if err := tx.does(script.Word("assign roles"), name, roles); err != nil {
		return err
	}
	p, err := tx.edits(name)
	if err != nil {
		return err
	}
	list, err := roleNames(roles)
	if err != nil {
		return tx.fail(err)
	}
	if !slices.Equal(p.roles, list) {
		tx.principals[name] = &systemPrincipal{p.password, list, p.lockedBy}
		tx.changed = true
	}
	return nil
}

// SetPassword replaces the password of a principal.
func (tx *Tx) SetPassword(name, password string) error {
	if err := tx.does(script.Word("set password"), name, script.Redacted); err != nil {
		return err
	}
	p, err := tx.edits(name)
	if err != nil {
		return err
	}
	hash, err := tx.hash(password)
	if err != nil {
		return tx.fail(err)
	}
	tx.principals[name] = &systemPrincipal{hash, p.roles, p.lockedBy}
	tx.changed = true
	return nil
}

// VerifyPassword changes nothing, and fails with PasswordMismatch unless the password is right, also if the principal is
// locked. After too many wrong guesses it fails with Limit for a minute, whatever the password.
func (tx *Tx) VerifyPassword(principal, password string) error {
	if err := tx.does(script.Word("verify password"), principal, script.Redacted); err != nil {
		return err
	}
	p, err := tx.named(principal)
	if err != nil {
		return err
	}
	if !tx.store.mayGuess(principal) {
		return tx.fail(refuse(Limit, "guesses at the password of principal", principal, "at most "+strconv.Itoa(tx.store.config.WrongGuesses)+" wrong ones in a minute"))
	}
	var right bool
	err = tx.store.hashing.do(tx.ctx, func() (err error) {
		right, err = work(nil).verify(p.password, []byte(password))
		return err
	})
	switch {
	case err != nil:
		return tx.fail(err)
	case !right:
		tx.store.guessedWrong(principal)
		return tx.fail(refuse(PasswordMismatch, "principal", principal, "its password"))
	}
	return nil
}

// AllowAnonymousConnections lets callers without a principal in, with roles beside those that the request says.
func (tx *Tx) AllowAnonymousConnections(roles ...string) error {
	return tx.setAnonymous(Allow, roles, script.Word("allow anonymous connections"), roles)
}

// DenyAnonymousConnections refuses callers without a principal.
func (tx *Tx) DenyAnonymousConnections() error {
	return tx.setAnonymous(Deny, nil, script.Word("deny anonymous connections"))
}

// AbstainAnonymousConnections leaves callers without a principal to the next handler.
func (tx *Tx) AbstainAnonymousConnections() error {
	return tx.setAnonymous(Abstain, nil, script.Word("abstain anonymous connections"))
}

func (tx *Tx) setAnonymous(action Answer, roles []string, command ...any) error {
	if err := tx.does(command...); err != nil {
		return err
	}
	list, err := roleNames(roles)
	if err != nil {
		return tx.fail(err)
	}
	if tx.anonymous != action || !slices.Equal(tx.anonymousRoles, list) {
		tx.anonymous, tx.anonymousRoles = action, list
		tx.changed = true
	}
	return nil
}

// TrustClientProposedPropertyIn lets clients propose a property with one of the values.
func (tx *Tx) TrustClientProposedPropertyIn(property string, values ...string) error {
	return tx.trust(property, "if value in", values, func() (*validation, error) {
		for _, v := range values {
			if !script.IsText(v) {
				return nil, refuse(InvalidArgument, "value", v, "UTF-8 without control characters")
			}
		}
		list, err := sortedSet(values)
		return &validation{values: list}, err
	})
}

// TrustClientProposedPropertyMatches lets clients propose a property with a value of at most 4,096 bytes that the
// expression, in RE2's syntax, matches as a whole.
func (tx *Tx) TrustClientProposedPropertyMatches(property, regex string) error {
	return tx.trust(property, "if value matches", regex, func() (*validation, error) {
		if len(regex) > maxRegexBytes || !script.IsText(regex) {
			return nil, refuse(InvalidRegex, "expression", regex, "at most "+strconv.Itoa(maxRegexBytes)+" bytes of UTF-8 without control characters")
		}
		re, err := regexp.Compile(regex)
		if err != nil {
			want := "RE2's syntax"
			if e, ok := errors.AsType[*syntax.Error](err); ok {
				want += ": " + e.Code.String()
			}
			return nil, refuse(InvalidRegex, "expression", regex, want)
		}
		re.Longest() // if anything matches the whole value, this does
		return &validation{regex: re}, nil
	})
}

func (tx *Tx) trust(property, condition string, of any, parse func() (*validation, error)) error {
	if err := tx.does(script.Word("trust client proposed property"), property, script.Word(condition), of); err != nil {
		return err
	}
	if err := checkProperty(property); err != nil {
		return tx.fail(err)
	}
	v, err := parse()
	if err != nil {
		return tx.fail(err)
	}
	was := tx.trusted[property]
	if was == nil && len(tx.trusted) >= maxTrusted {
		return tx.fail(refuse(Limit, "trusted properties", strconv.Itoa(len(tx.trusted)+1), "at most "+strconv.Itoa(maxTrusted)))
	}
	if !v.equal(was) {
		tx.trusted[property] = v
		tx.changed = true
	}
	return nil
}

// IgnoreClientProposedProperty forgets a property, if it is trusted.
func (tx *Tx) IgnoreClientProposedProperty(property string) error {
	if err := tx.does(script.Word("ignore client proposed property"), property); err != nil {
		return err
	}
	if err := checkProperty(property); err != nil {
		return tx.fail(err)
	}
	if tx.trusted[property] != nil {
		delete(tx.trusted, property)
		tx.changed = true
	}
	return nil
}

// checkProperty returns InvalidProperty for a name that no property of users can have (diffusion.md 7.3, 13).
func checkProperty(name string) error {
	if chansec.CheckSystemID(name) != nil || name[0] == '$' || strings.ContainsAny(name, " \t\r\n'\"()") {
		return refuse(InvalidProperty, "property", name, "1 to 512 bytes of UTF-8 that do not begin with $ and hold no blanks, quotes, parentheses and control characters")
	}
	return nil
}
