package policy

// The builders write scripts, a command per method, in exactly the form that Diffusion's own clients write
// (diffusion.md 7.4). A method that gets something that no script can hold appends nothing, and Build returns the first
// such error.

// SecurityScriptBuilder writes scripts for a security store, which [Store.UpdateScript] runs. Its zero value is ready.
type SecurityScriptBuilder struct{ builder }

// AuthenticationScriptBuilder writes scripts for a system authentication store. Its zero value is ready.
type AuthenticationScriptBuilder struct{ builder }

type builder struct {
	lines lines
	err   error
}

// Build returns the script, without a line end behind the last command. No command is an empty script.
func (b *builder) Build() (string, error) {
	if b.err != nil {
		return "", b.err
	}
	return string(b.lines.text), nil
}

// add appends a command, if its parts can be written: strings without control characters, permissions that are words.
func (b *builder) add(parts ...any) {
	for _, p := range parts {
		var texts []string
		switch p := p.(type) {
		case string:
			texts = []string{p}
		case []string:
			texts = p
		case []word:
			for _, w := range p {
				if !isWord(string(w)) {
					b.fail(refuse(InvalidArgument, "permission", string(w), "letters, digits and _ after a letter"))
					return
				}
			}
		}
		for _, s := range texts {
			if !isText(s) {
				b.fail(refuse(InvalidArgument, "string", s, "UTF-8 without control characters"))
				return
			}
		}
	}
	b.lines.add(parts...)
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// secret is add for a command with a password, which no error may say.
func (b *builder) secret(password string, parts ...any) {
	if !isText(password) {
		b.fail(&Error{Kind: InvalidArgument, What: "password", Want: "UTF-8 without control characters"})
		return
	}
	b.add(parts...)
}

// bare makes permissions words as they were given.
func bare(permissions []string) []word {
	list := make([]word, len(permissions))
	for i, p := range permissions {
		list[i] = word(p)
	}
	return list
}

// SetRolesForAnonymousSessions appends set roles for anonymous sessions.
func (b *SecurityScriptBuilder) SetRolesForAnonymousSessions(roles ...string) *SecurityScriptBuilder {
	b.add(word("set roles for anonymous sessions"), roles)
	return b
}

// SetRolesForNamedSessions appends set roles for named sessions.
func (b *SecurityScriptBuilder) SetRolesForNamedSessions(roles ...string) *SecurityScriptBuilder {
	b.add(word("set roles for named sessions"), roles)
	return b
}

// SetGlobalPermissions appends set R permissions.
func (b *SecurityScriptBuilder) SetGlobalPermissions(role string, permissions ...string) *SecurityScriptBuilder {
	b.add(word("set"), role, word("permissions"), bare(permissions))
	return b
}

// SetDefaultPathPermissions appends set R default path permissions.
func (b *SecurityScriptBuilder) SetDefaultPathPermissions(role string, permissions ...string) *SecurityScriptBuilder {
	b.add(word("set"), role, word("default path permissions"), bare(permissions))
	return b
}

// SetPathPermissions appends set R path P permissions.
func (b *SecurityScriptBuilder) SetPathPermissions(role, path string, permissions ...string) *SecurityScriptBuilder {
	b.add(word("set"), role, word("path"), path, word("permissions"), bare(permissions))
	return b
}

// RemovePathPermissions appends remove R permissions for path P.
func (b *SecurityScriptBuilder) RemovePathPermissions(role, path string) *SecurityScriptBuilder {
	b.add(word("remove"), role, word("permissions for path"), path)
	return b
}

// IsolatePath appends isolate path P.
func (b *SecurityScriptBuilder) IsolatePath(path string) *SecurityScriptBuilder {
	b.add(isolation[true], path)
	return b
}

// DeisolatePath appends deisolate path P.
func (b *SecurityScriptBuilder) DeisolatePath(path string) *SecurityScriptBuilder {
	b.add(isolation[false], path)
	return b
}

// SetRoleIncludes appends set R includes.
func (b *SecurityScriptBuilder) SetRoleIncludes(role string, includes ...string) *SecurityScriptBuilder {
	b.add(word("set"), role, word("includes"), includes)
	return b
}

// SetRoleLockedByPrincipal appends set role R locked by principal Q.
func (b *SecurityScriptBuilder) SetRoleLockedByPrincipal(role, principal string) *SecurityScriptBuilder {
	b.add(word("set role"), role, word("locked by principal"), principal)
	return b
}

// AddPrincipal appends add principal N PW, with the list of roles only if there is one.
func (b *AuthenticationScriptBuilder) AddPrincipal(principal, password string, roles ...string) *AuthenticationScriptBuilder {
	return b.addPrincipal(principal, password, roles)
}

// AddLockedPrincipal is AddPrincipal with locked by Q.
func (b *AuthenticationScriptBuilder) AddLockedPrincipal(principal, password, lockedBy string, roles ...string) *AuthenticationScriptBuilder {
	return b.addPrincipal(principal, password, roles, word("locked by"), lockedBy)
}

func (b *AuthenticationScriptBuilder) addPrincipal(principal, password string, roles []string, more ...any) *AuthenticationScriptBuilder {
	parts := []any{word("add principal"), principal, password}
	if len(roles) > 0 {
		parts = append(parts, roles)
	}
	b.secret(password, append(parts, more...)...)
	return b
}

// RemovePrincipal appends remove principal N.
func (b *AuthenticationScriptBuilder) RemovePrincipal(principal string) *AuthenticationScriptBuilder {
	b.add(word("remove principal"), principal)
	return b
}

// AssignRoles appends assign roles N.
func (b *AuthenticationScriptBuilder) AssignRoles(principal string, roles ...string) *AuthenticationScriptBuilder {
	b.add(word("assign roles"), principal, roles)
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

func (b *AuthenticationScriptBuilder) password(command word, principal, password string) *AuthenticationScriptBuilder {
	b.secret(password, command, principal, password)
	return b
}

// AllowAnonymousConnections appends allow anonymous connections, always with the list of roles.
func (b *AuthenticationScriptBuilder) AllowAnonymousConnections(roles ...string) *AuthenticationScriptBuilder {
	b.add(word("allow anonymous connections"), roles)
	return b
}

// DenyAnonymousConnections appends deny anonymous connections.
func (b *AuthenticationScriptBuilder) DenyAnonymousConnections() *AuthenticationScriptBuilder {
	b.add(word("deny anonymous connections"))
	return b
}

// AbstainAnonymousConnections appends abstain anonymous connections.
func (b *AuthenticationScriptBuilder) AbstainAnonymousConnections() *AuthenticationScriptBuilder {
	b.add(word("abstain anonymous connections"))
	return b
}

// TrustClientProposedPropertyIn appends trust client proposed property P if value in.
func (b *AuthenticationScriptBuilder) TrustClientProposedPropertyIn(property string, values ...string) *AuthenticationScriptBuilder {
	b.add(word("trust client proposed property"), property, word("if value in"), values)
	return b
}

// TrustClientProposedPropertyMatches appends trust client proposed property P if value matches.
func (b *AuthenticationScriptBuilder) TrustClientProposedPropertyMatches(property, regex string) *AuthenticationScriptBuilder {
	b.add(word("trust client proposed property"), property, word("if value matches"), regex)
	return b
}

// IgnoreClientProposedProperty appends ignore client proposed property P.
func (b *AuthenticationScriptBuilder) IgnoreClientProposedProperty(property string) *AuthenticationScriptBuilder {
	b.add(word("ignore client proposed property"), property)
	return b
}
