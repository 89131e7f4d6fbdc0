// Package rbac guards net/http services by roles: which method of which endpoint takes which role, in a table that is
// checked when it is put in force, and AppKernel's RS256 tokens to prove the roles (appkernel.md).
//
//	keys, err := rbac.KeyFiles{Config: "config"}.Verifying()
//	tokens, err := rbac.NewTokens(keys, rbac.Application("users-app"))
//	users, err := rbac.NewService(tokens, new(rbac.Rules).
//		Action(rbac.Action{Name: "change_password", Methods: []string{"POST"},
//			Require: rbac.AnyOf{rbac.CurrentSubject("object_id"), rbac.Role("admin")}}).
//		DenyAll().
//		Require(rbac.Role("user"), "GET").
//		Require(rbac.Role("admin"), "PUT", "DELETE"))
//
//	var mux rbac.Mux
//	mux.Handle("/users/{object_id}", users, resource)
//	mux.HandleAction("POST /users/{object_id}/change_password", users, "change_password", change)
//	handler, err := mux.Handler() // says which routes have no rule
//
// # What is guaranteed
//
// What has no rule is refused. A request is judged by the route that http.ServeMux matched and its decoded path values:
// nobody matches twice. A handler runs only after a yes, and finds what the token says by [ClaimsFrom]. Tokens come in by
// the same strict door as all others of chansec, with a profile of their own: RS256 only, whatever the header says; an
// expiry is needed; the audience must be us. No error or answer holds anything of a token or a key.
//
// # Beside HTTP
//
// [Service.Authorizer] lets the same table decide on channels, and [Tokens] authenticates their callers.
package rbac
