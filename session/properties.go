package session

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// The fixed properties (diffusion.md 13). Times are milliseconds since 1970, in decimal.
const (
	PropertySessionID   = "$SessionId"
	PropertyPrincipal   = "$Principal" // empty for an anonymous session
	PropertyRoles       = "$Roles"     // as FormatRoles writes them
	PropertyClientIP    = "$ClientIP"
	PropertyClientType  = "$ClientType"
	PropertyTransport   = "$Transport"
	PropertyConnector   = "$Connector"
	PropertyCountry     = "$Country"
	PropertyLanguage    = "$Language"
	PropertyLatitude    = "$Latitude"
	PropertyLongitude   = "$Longitude"
	PropertyServerName  = "$ServerName"
	PropertyStartTime   = "$StartTime"
	PropertyExpiryTime  = "$ExpiryTime"
	PropertyEnvironment = "$Environment"
)

// Bounds of what one session carries.
const (
	MaxProperties    = 128 // user properties
	MaxPropertyName  = 256 // bytes
	MaxPropertyValue = 4096
	MaxRoles         = 256
	MaxRoleName      = 512 // bytes
)

var (
	ofTransport = []string{PropertyClientType, PropertyConnector, PropertyEnvironment}             // what whoever calls Open may say
	ofHandler   = []string{PropertyCountry, PropertyLanguage, PropertyLatitude, PropertyLongitude} // what a login may say
)

// CheckProperty returns an InvalidError unless a user property may have that name: 1 to MaxPropertyName bytes of UTF-8, no
// blank, tab, line end or other control character, no quote or parenthesis, and no leading $.
func CheckProperty(name string) error {
	if err := checkText("property", name, MaxPropertyName); err != nil {
		return err
	}
	if name == "" || name[0] == '$' || strings.ContainsAny(name, " \"'()") {
		return invalid("property", name, "a name without blanks, quotes and parentheses that does not begin with $")
	}
	return nil
}

// checkUser checks all user properties that a session is to have.
func checkUser(user map[string]string) error {
	if len(user) > MaxProperties {
		return &LimitError{"user properties of a session", MaxProperties}
	}
	for _, name := range slices.Sorted(maps.Keys(user)) {
		if err := CheckProperty(name); err != nil {
			return err
		}
		if len(user[name]) > MaxPropertyValue {
			return &LimitError{"bytes of the property " + quote(name), MaxPropertyValue}
		}
	}
	return nil
}

// checkRoles checks roles that a session is to have.
func checkRoles(roles []string) error {
	if len(roles) > MaxRoles {
		return &LimitError{"roles of a session", MaxRoles}
	}
	for _, r := range roles {
		if err := checkText("role", r, MaxRoleName); err != nil {
			return err
		}
		if r == "" {
			return invalid("role", r, "a name")
		}
	}
	return nil
}

// takeProperties sorts the properties of a login: what a handler may set of the fixed ones goes over those that the session
// has, other names with a $ are ignored, and the rest are the user's.
func takeProperties(fixed, given map[string]string) (_, user map[string]string, err error) {
	fixed = maps.Clone(fixed)
	for name, value := range given {
		switch {
		case slices.Contains(ofHandler, name):
			if err := checkText(name, value, MaxPropertyValue); err != nil {
				return nil, nil, err
			}
			if fixed == nil {
				fixed = make(map[string]string)
			}
			fixed[name] = value
		case !strings.HasPrefix(name, "$"):
			if user == nil {
				user = make(map[string]string)
			}
			user[name] = value
		}
	}
	return fixed, user, checkUser(user)
}

// transportProperties checks what whoever opens a session says about it.
func transportProperties(given map[string]string) (map[string]string, error) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(ofTransport, name) {
			return nil, invalid("property of a session that opens", name, strings.Join(ofTransport, ", ")+": the login says the rest")
		}
		if err := checkText(name, given[name], MaxPropertyValue); err != nil {
			return nil, err
		}
	}
	return maps.Clone(given), nil
}

// property returns one property of a session in a state.
func (s *Session) property(is *state, name string) (string, bool) {
	if !strings.HasPrefix(name, "$") {
		v, ok := is.user[name]
		return v, ok
	}
	switch name {
	case PropertySessionID:
		return s.id, true
	case PropertyPrincipal:
		return is.name, true
	case PropertyRoles:
		return FormatRoles(is.principal.Roles), true
	case PropertyStartTime:
		return milliseconds(s.since), true
	case PropertyExpiryTime:
		return milliseconds(is.expires), true
	case PropertyTransport:
		return s.transport, s.transport != ""
	case PropertyClientIP:
		ip := clientIP(s.remote)
		return ip, ip != ""
	case PropertyServerName:
		return s.of.config.ServerName, s.of.config.ServerName != ""
	}
	v, ok := is.fixed[name]
	return v, ok
}

// properties returns all properties of a session in a state, as a map of its own.
func (s *Session) properties(is *state) map[string]string {
	all := make(map[string]string, len(is.user)+len(is.fixed)+8)
	maps.Copy(all, is.user)
	maps.Copy(all, is.fixed)
	for _, name := range []string{PropertySessionID, PropertyPrincipal, PropertyRoles, PropertyStartTime, PropertyExpiryTime,
		PropertyTransport, PropertyClientIP, PropertyServerName} {
		if v, ok := s.property(is, name); ok {
			all[name] = v
		}
	}
	return all
}

// arriving returns the fixed properties of somebody who has no session yet (diffusion.md 9.2): those that are known without
// one. $Roles is added by login.
func (s *Sessions) arriving(r *authn.Request, fixed map[string]string) map[string]string {
	all := map[string]string{PropertyPrincipal: r.Principal}
	maps.Copy(all, fixed)
	for name, value := range map[string]string{PropertyTransport: r.Connection.Transport, PropertyClientIP: clientIP(r.Connection.RemoteAddr),
		PropertyServerName: s.config.ServerName} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// clientIP is the address of host:port, or the whole where that is not what it is.
func clientIP(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// FormatRoles writes roles as the property $Roles has them: each in double quotes, with \ before ", ' and \, joined by commas
// (diffusion.md 13).
func FormatRoles(roles []string) string {
	var b strings.Builder
	for i, r := range roles {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for i := range len(r) {
			if c := r[i]; c == '"' || c == '\'' || c == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(r[i])
		}
		b.WriteByte('"')
	}
	return b.String()
}

// ParseRoles reads what FormatRoles wrote, and what others write: every run in quotes of either kind is a role, and whatever is
// between them is ignored (diffusion.md 13). A quote that is not closed is an InvalidError.
func ParseRoles(text string) ([]string, error) {
	var roles []string
	for i := 0; i < len(text); i++ {
		quotation := text[i]
		if quotation != '"' && quotation != '\'' {
			continue
		}
		var role []byte
		for i++; ; i++ {
			if i == len(text) {
				return nil, invalid(PropertyRoles, text, "a closing quote for every opening one")
			}
			if text[i] == quotation {
				break
			}
			if text[i] == '\\' && i+1 < len(text) {
				i++
			}
			role = append(role, text[i])
		}
		roles = append(roles, string(role))
	}
	return roles, nil
}

// admitted is a login as a session takes it.
type admitted struct {
	principal   chansec.Principal
	name        string // empty is anonymous
	fixed, user map[string]string
	expires     time.Time
	clientData  any
}

// admit checks what a chain answered to somebody with fixed properties.
func (s *Sessions) admit(l *authn.Login, fixed map[string]string, now time.Time) (*admitted, error) {
	if l == nil {
		return nil, undecided("the chain", errors.New("it answered neither yes nor no"))
	}
	a := &admitted{principal: l.Principal, name: l.Principal.SystemID, clientData: l.ClientData}
	switch {
	case a.name == "":
		a.principal.SystemID = s.config.Anonymous
	case a.name == s.config.Anonymous:
		return nil, invalid("principal", a.name, "another name: this one stands for those who have none")
	default:
		if chansec.CheckSystemID(a.name) != nil { // without the name, which may be a secret that was typed into the wrong field
			return nil, &chansec.InvalidError{What: "principal", Want: "1 to 512 bytes of UTF-8 without control characters"}
		}
	}
	if err := checkRoles(l.Principal.Roles); err != nil {
		return nil, err
	}
	a.principal.Roles = slices.Clone(l.Principal.Roles)
	a.principal.Attributes = maps.Clone(l.Principal.Attributes)
	var err error
	if a.fixed, a.user, err = takeProperties(fixed, l.Properties); err != nil {
		return nil, err
	}
	a.expires = l.ExpiresAt
	if most := now.Add(s.config.MaxAge); a.expires.IsZero() || most.Before(a.expires) {
		a.expires = most
	}
	if !now.Before(a.expires) {
		return nil, fmt.Errorf("session: the login is over already: %w", chansec.ErrExpired)
	}
	return a, nil
}
