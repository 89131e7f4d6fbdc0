package policy

import "github.com/chansec/chansec/internal/script"

// SecurityScriptBuilder writes scripts for a security store, which [Store.UpdateScript] runs: a command per method, in
// exactly the form that Diffusion's own clients write (diffusion.md 7.4). A method that gets something that no script can
// hold appends nothing, and Build returns the first such error. Its zero value is ready.
type SecurityScriptBuilder struct{ script script.Builder }

// Build returns the script, without a line end behind the last command. No command is an empty script.
func (b *SecurityScriptBuilder) Build() (string, error) {
	text, bad := b.script.Build()
	if bad != nil {
		return "", refuse(InvalidArgument, bad.What, bad.Value, bad.Want)
	}
	return text, nil
}

// SetRolesForAnonymousSessions appends set roles for anonymous sessions.
func (b *SecurityScriptBuilder) SetRolesForAnonymousSessions(roles ...string) *SecurityScriptBuilder {
	b.script.Add(word("set roles for anonymous sessions"), roles)
	return b
}

// SetRolesForNamedSessions appends set roles for named sessions.
func (b *SecurityScriptBuilder) SetRolesForNamedSessions(roles ...string) *SecurityScriptBuilder {
	b.script.Add(word("set roles for named sessions"), roles)
	return b
}

// SetGlobalPermissions appends set R permissions.
func (b *SecurityScriptBuilder) SetGlobalPermissions(role string, permissions ...string) *SecurityScriptBuilder {
	b.script.Add(word("set"), role, word("permissions"), script.Words(permissions))
	return b
}

// SetDefaultPathPermissions appends set R default path permissions.
func (b *SecurityScriptBuilder) SetDefaultPathPermissions(role string, permissions ...string) *SecurityScriptBuilder {
	b.script.Add(word("set"), role, word("default path permissions"), script.Words(permissions))
	return b
}

// SetPathPermissions appends set R path P permissions.
func (b *SecurityScriptBuilder) SetPathPermissions(role, path string, permissions ...string) *SecurityScriptBuilder {
	b.script.Add(word("set"), role, word("path"), path, word("permissions"), script.Words(permissions))
	return b
}

// RemovePathPermissions appends remove R permissions for path P.
func (b *SecurityScriptBuilder) RemovePathPermissions(role, path string) *SecurityScriptBuilder {
	b.script.Add(word("remove"), role, word("permissions for path"), path)
	return b
}

// IsolatePath appends isolate path P.
func (b *SecurityScriptBuilder) IsolatePath(path string) *SecurityScriptBuilder {
	b.script.Add(isolation[true], path)
	return b
}

// DeisolatePath appends deisolate path P.
func (b *SecurityScriptBuilder) DeisolatePath(path string) *SecurityScriptBuilder {
	b.script.Add(isolation[false], path)
	return b
}

// SetRoleIncludes appends set R includes.
func (b *SecurityScriptBuilder) SetRoleIncludes(role string, includes ...string) *SecurityScriptBuilder {
	b.script.Add(word("set"), role, word("includes"), includes)
	return b
}

// SetRoleLockedByPrincipal appends set role R locked by principal Q.
func (b *SecurityScriptBuilder) SetRoleLockedByPrincipal(role, principal string) *SecurityScriptBuilder {
	b.script.Add(word("set role"), role, word("locked by principal"), principal)
	return b
}
