package authn

import (
	"strconv"
	"strings"
	"time"

	"github.com/chansec/chansec"
)

// The properties with a leading $ that a handler may set (diffusion.md 9.2). All others with a $ are ignored.
const (
	principalProperty = "$Principal"
	rolesProperty     = "$Roles"
	expiryProperty    = "$ExpiryTime" // milliseconds since 1970
)

func settable(name string) bool {
	switch name {
	case "$Country", "$Language", "$Latitude", "$Longitude":
		return true
	}
	return false
}

// sensible reports whether a request is within bounds.
func (r *Request) sensible() bool {
	if r.Principal != "" && chansec.CheckSystemID(r.Principal) != nil || len(r.Credentials) > maxCredentials || len(r.Proposed) > maxProperties {
		return false
	}
	for name, value := range r.Proposed {
		if len(name)+len(value) > maxProperty {
			return false
		}
	}
	return true
}

// properties returns the properties of the session that an answer has.
func (a *Response) properties() (map[string]string, error) {
	if len(a.Properties) > maxProperties {
		return nil, invalid("properties that a handler answered", "", "at most 256")
	}
	kept := map[string]string{}
	for name, value := range a.Properties {
		switch {
		case strings.HasPrefix(name, "$"):
			if !settable(name) {
				continue
			}
		case name == "" || strings.ContainsAny(name, " \t\r\n\"'()"):
			return nil, invalid("name of a property that a handler answered", name, "a name without blanks, quotes and parentheses")
		}
		if len(name)+len(value) > maxProperty {
			return nil, invalid("property that a handler answered", name, "at most 8 KiB")
		}
		kept[name] = value
	}
	return kept, nil
}

// fixed returns what an answer says about the principal, their roles and when the session ends, in its fields or, as in the
// original, in its properties. To say both is an error, unless it is the same.
func (a *Response) fixed() (name string, roles []string, expires time.Time, err error) {
	name, roles, expires = a.Principal, a.Roles, a.ExpiresAt
	if text, ok := a.Properties[principalProperty]; ok {
		if name != "" && name != text {
			return "", nil, expires, invalid("property that a handler answered", principalProperty, "what the answer says itself")
		}
		name = text
	}
	if text, ok := a.Properties[rolesProperty]; ok {
		read, ok := readRoles(text)
		if !ok || roles != nil {
			return "", nil, expires, invalid("property that a handler answered", rolesProperty, `names in quotes, such as "A","B", and no Roles beside`)
		}
		roles = read
	}
	if text, ok := a.Properties[expiryProperty]; ok {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms <= 0 || !expires.IsZero() {
			return "", nil, expires, invalid("property that a handler answered", expiryProperty, "milliseconds since 1970, and no ExpiresAt beside")
		}
		expires = time.UnixMilli(ms)
	}
	return name, roles, expires, nil
}

// readRoles reads roles as the property has them: each in quotes of either kind, with a backslash before quotes and
// backslashes, and anything between (diffusion.md 13).
func readRoles(text string) (roles []string, ok bool) {
	roles = []string{}
	for i := 0; i < len(text); i++ {
		quote := text[i]
		if quote != '"' && quote != '\'' {
			continue
		}
		var name []byte
		for i++; i < len(text) && text[i] != quote; i++ {
			if text[i] == '\\' && i+1 < len(text) {
				i++
			}
			name = append(name, text[i])
		}
		if i >= len(text) {
			return nil, false
		}
		roles = append(roles, string(name))
	}
	return roles, true
}
