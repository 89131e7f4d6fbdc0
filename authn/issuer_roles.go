package authn

import (
	"slices"
	"strings"

	"github.com/chansec/chansec/internal/strictjson"
)

// RoleMap makes roles of what somebody else calls roles, groups or scopes. Nothing is taken over by its name: a value
// gives the roles that the table has for it, and one that is not in the table gives none.
type RoleMap struct {
	// Path leads to the values, a string or a list of strings, through objects: {"realm_access", "roles"}.
	Path []string
	// Roles are the roles for each value.
	Roles map[string][]string
}

// Bounds of a RoleMap and of what it reads.
const (
	maxRolePath   = 8
	maxRoleValues = 1024
)

// checked returns a copy of a map that makes sense. Nil is nil.
func (m *RoleMap) checked(what string) (*RoleMap, error) {
	if m == nil {
		return nil, nil
	}
	switch {
	case len(m.Path) == 0 || len(m.Path) > maxRolePath || slices.Contains(m.Path, ""):
		return nil, invalidSetting(what+".Path", strings.Join(m.Path, "."), "1 to 8 names, none of them empty")
	case len(m.Roles) == 0:
		return nil, invalidSetting(what+".Roles", "", "roles for at least one value")
	}
	own := &RoleMap{Path: slices.Clone(m.Path), Roles: make(map[string][]string, len(m.Roles))}
	for value, roles := range m.Roles {
		if value == "" || slices.Contains(roles, "") || len(roles) == 0 {
			return nil, invalidSetting(what+".Roles", value, "a value that is not empty, and names of roles for it")
		}
		own.Roles[value] = slices.Clone(roles)
	}
	return own, nil
}

// of returns the roles, sorted, that members of an object give: nil for a nil map, and otherwise exactly those. Where the
// path ends before its time, there are none. It is not ok if there is something else at its end, or on the way.
func (m *RoleMap) of(members []strictjson.Member) (roles []string, ok bool) {
	if m == nil {
		return nil, true
	}
	roles = []string{}
	var value strictjson.Value
	for i, name := range m.Path {
		at := slices.IndexFunc(members, func(member strictjson.Member) bool { return member.Name == name })
		if at < 0 || members[at].Value.IsNull() {
			return roles, true
		}
		value = members[at].Value
		if i == len(m.Path)-1 {
			break
		}
		var err error
		if members, err = strictjson.Object(value.Raw(), nil, strictjson.Limits{}); err != nil {
			return nil, false
		}
	}
	values, ok := value.Strings(maxRoleValues)
	if !ok {
		var single string
		if single, ok = value.Text(); !ok {
			return nil, false
		}
		values = []string{single}
	}
	for _, v := range values {
		roles = append(roles, m.Roles[v]...)
	}
	slices.Sort(roles)
	return slices.Compact(roles), true
}
