package policy

import (
	"slices"
	"strings"

	"github.com/chansec/chansec"
)

// ExcessError says that a change would hand out what its actor does not hold. It is chansec.ErrPermission.
type ExcessError struct {
	Actor       string
	Whom        string   // who would gain it, for people: a principal, a role, or others
	Path        string   // where; empty is everywhere, or nowhere in particular for global permissions
	Permissions []string // what the actor lacks, sorted
}

func (e *ExcessError) Error() string {
	return "policy: " + quote(e.Actor) + " may not hand out what they do not hold: " + e.Whom + " would gain " +
		strings.Join(e.Permissions, " and ") + " on " + quote(e.Path)
}

// Is makes the error chansec.ErrPermission.
func (e *ExcessError) Is(target error) bool { return target == chansec.ErrPermission }

// ceiling returns an ExcessError if anybody has more in another state than here, and the actor does not hold it here. It
// judges by what comes of a change and not by its commands, so that there is no way around it. Roles are looked at
// by themselves as well, since an authenticator may vouch for them.
func (s *state) ceiling(after *state, actor Actor) error {
	var has roleSet
	defer has.release()
	s.held(&has, actor.principal)
	s.vouched(&has, actor.roles)
	holds := func(path string) permissions {
		p := s.evaluate(&has, path, ^permissions(0), nil).granted
		if s.config.delegation && p&s.config.admin != 0 {
			return ^permissions(0)
		}
		return p
	}
	tops := changedPaths(s.config.separator, s.tree, after.tree, "", nil)

	check := func(whom string, was, is *roleSet) (err error) {
		defer was.release()
		defer is.release()
		if more := is.globals &^ was.globals &^ has.globals; more != 0 {
			return &ExcessError{actor.principal, whom, "", s.config.global.list(more)}
		}
		places := tops
		if !was.equal(is) {
			places = []string{""}
		}
		at := func(path string) permissions {
			return after.evaluate(is, path, ^permissions(0), nil).granted &^
				s.evaluate(was, path, ^permissions(0), nil).granted &^ holds(path)
		}
		everywhere(s, after, places, []string{is.principal, actor.principal}, at, func(path string, more permissions) bool {
			if more != 0 {
				err = &ExcessError{actor.principal, whom, path, s.config.path.list(more)}
			}
			return err == nil
		})
		return err
	}
	for _, x := range []struct {
		whom Whom
		text string
	}{{AnonymousSessions, "who has no name"}, {OtherPrincipals, "everybody"}} {
		var was, is roleSet
		s.whoever(&was, x.whom, "")
		after.whoever(&is, x.whom, "")
		if err := check(x.text, &was, &is); err != nil {
			return err
		}
	}
	names := append(s.sortedPrincipals(), after.sortedPrincipals()...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		var was, is roleSet
		s.held(&was, name)
		after.held(&is, name)
		if err := check(quote(name), &was, &is); err != nil {
			return err
		}
	}
	for _, r := range after.sortedRoles() {
		was, is := roleSet{principal: principalVariable}, roleSet{principal: principalVariable}
		was.add(s.roleNamed(r.name))
		is.add(r)
		if err := check("role "+quote(r.name), &was, &is); err != nil {
			return err
		}
	}
	return nil
}
