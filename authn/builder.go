package authn

import (
	"fmt"
	"io"

	"github.com/chansec/chansec/internal/script"
)

// AuthenticationScriptBuilder writes scripts for a system authentication store: a command per method, in exactly the form that
// Diffusion's own clients write (diffusion.md 7.4). A method that gets something that no script can hold appends nothing, and
// Build returns the first such error. Its zero value is ready.
//
// A script holds passwords as they are: log it nowhere.
type AuthenticationScriptBuilder struct{ script script.Builder }

// Build returns the script, without a line end behind the last command. No command is an empty script.
func (b *AuthenticationScriptBuilder) Build() (string, error) {
	text, bad := b.script.Build()
	if bad != nil {
		return "", refuse(InvalidArgument, bad.What, bad.Value, bad.Want)
	}
	return text, nil
}

// Format writes what the builder is and nothing of its script, whatever the verb.
func (AuthenticationScriptBuilder) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "authentication script builder")
}

// AddPrincipal appends add principal N PW, with the list of roles only if there is one.
func (b *AuthenticationScriptBuilder) AddPrincipal(principal, password string, roles ...string) *AuthenticationScriptBuilder {
	return b.addPrincipal(principal, password, roles)
}

// AddLockedPrincipal is AddPrincipal with locked by Q.
func (b *AuthenticationScriptBuilder) AddLockedPrincipal(principal, password, lockedBy string, roles ...string) *AuthenticationScriptBuilder {
	return b.addPrincipal(principal, password, roles, script.Word("locked by"), lockedBy)
}

func (b *AuthenticationScriptBuilder) addPrincipal(principal, password string, roles []string, more ...any) *AuthenticationScriptBuilder {
	parts := []any{script.Word("add principal"), principal, script.Secret(password)}
	if len(roles) > 0 {
		parts = append(parts, roles)
	}
	b.script.Add(append(parts, more...)...)
	return b
}

// RemovePrincipal appends remove principal N.
func (b *AuthenticationScriptBuilder) RemovePrincipal(principal string) *AuthenticationScriptBuilder {
	b.script.Add(script.Word("remove principal"), principal)
	return b
}

// AssignRoles appends assign roles N.
func (b *AuthenticationScriptBuilder) AssignRoles(principal string, roles ...string) *AuthenticationScriptBuilder {
	b.script.Add(script.Word("assign roles"), principal, roles)
	return b
}

// SetPassword appends set password N PW.
func (b *AuthenticationScriptBuilder) SetPassword(principal, password string) *AuthenticationScriptBuilder {
	return b.password("set password", principal, password)
}

// VerifyPassword appends verify password N PW.
func (b *AuthenticationScriptBuilder) VerifyPassword(principal, password string) *AuthenticationScriptBuilder {
	return b.password("verify password", principal, password)
}

func (b *AuthenticationScriptBuilder) password(command script.Word, principal, password string) *AuthenticationScriptBuilder {
	b.script.Add(command, principal, script.Secret(password))
	return b
}

// AllowAnonymousConnections appends allow anonymous connections, always with the list of roles.
func (b *AuthenticationScriptBuilder) AllowAnonymousConnections(roles ...string) *AuthenticationScriptBuilder {
	b.script.Add(script.Word("allow anonymous connections"), roles)
	return b
}

// DenyAnonymousConnections appends deny anonymous connections.
func (b *AuthenticationScriptBuilder) DenyAnonymousConnections() *AuthenticationScriptBuilder {
	b.script.Add(script.Word("deny anonymous connections"))
	return b
}

// AbstainAnonymousConnections appends abstain anonymous connections.
func (b *AuthenticationScriptBuilder) AbstainAnonymousConnections() *AuthenticationScriptBuilder {
	b.script.Add(script.Word("abstain anonymous connections"))
	return b
}

// TrustClientProposedPropertyIn appends trust client proposed property P if value in.
func (b *AuthenticationScriptBuilder) TrustClientProposedPropertyIn(property string, values ...string) *AuthenticationScriptBuilder {
	b.script.Add(script.Word("trust client proposed property"), property, script.Word("if value in"), values)
	return b
}

// TrustClientProposedPropertyMatches appends trust client proposed property P if value matches.
func (b *AuthenticationScriptBuilder) TrustClientProposedPropertyMatches(property, regex string) *AuthenticationScriptBuilder {
	b.script.Add(script.Word("trust client proposed property"), property, script.Word("if value matches"), regex)
	return b
}

// IgnoreClientProposedProperty appends ignore client proposed property P.
func (b *AuthenticationScriptBuilder) IgnoreClientProposedProperty(property string) *AuthenticationScriptBuilder {
	b.script.Add(script.Word("ignore client proposed property"), property)
	return b
}
