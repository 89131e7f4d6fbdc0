package policy

import (
	"context"
	"time"
)

// Predefined returns the script of Diffusion's predefined roles (diffusion.md 11), for a store of [DiffusionConfig]: CLIENT,
// TOPIC_CONTROL, CLIENT_CONTROL, AUTHENTICATION_HANDLER, OPERATOR and ADMINISTRATOR. Sessions with a principal are
// CLIENTs; those without have no role. There are no principals: [Store.Bootstrap] adds the first.
func Predefined() string { return predefined }

const predefined = `set "CLIENT" default path permissions [READ_TOPIC SELECT_TOPIC SEND_TO_MESSAGE_HANDLER]
set "CLIENT" path "Diffusion" permissions []
set "TOPIC_CONTROL" includes ["CLIENT"]
set "TOPIC_CONTROL" default path permissions [READ_TOPIC SELECT_TOPIC SEND_TO_MESSAGE_HANDLER MODIFY_TOPIC UPDATE_TOPIC ACQUIRE_LOCK]
set "TOPIC_CONTROL" permissions [READ_TOPIC_VIEWS MODIFY_TOPIC_VIEWS]
set "CLIENT_CONTROL" includes ["CLIENT"]
set "CLIENT_CONTROL" default path permissions [SEND_TO_SESSION ACQUIRE_LOCK]
set "CLIENT_CONTROL" permissions [VIEW_SESSION MODIFY_SESSION REGISTER_HANDLER]
set "AUTHENTICATION_HANDLER" includes ["CLIENT"]
set "AUTHENTICATION_HANDLER" permissions [AUTHENTICATE REGISTER_HANDLER]
set "OPERATOR" includes ["CLIENT"]
set "OPERATOR" path "Diffusion" permissions [READ_TOPIC SELECT_TOPIC SEND_TO_MESSAGE_HANDLER]
set "OPERATOR" permissions [VIEW_SERVER VIEW_SESSION]
set "ADMINISTRATOR" includes ["CLIENT_CONTROL" "TOPIC_CONTROL" "OPERATOR"]
set "ADMINISTRATOR" default path permissions [ACQUIRE_LOCK]
set "ADMINISTRATOR" path "Diffusion" permissions [READ_TOPIC SELECT_TOPIC SEND_TO_MESSAGE_HANDLER MODIFY_TOPIC UPDATE_TOPIC]
set "ADMINISTRATOR" permissions [CONTROL_SERVER VIEW_SERVER VIEW_SECURITY MODIFY_SECURITY VIEW_SESSION MODIFY_SESSION REGISTER_HANDLER]
set roles for named sessions ["CLIENT"]
`

// Bootstrap gives the first administrator their role, beside those that they have, and reports whether it did. It does
// nothing once there is a stored principal who may change the store for good, whoever that is, so that a program may
// call it at every start. The role must give the vocabulary's Modify permission, or it is an InvalidArgument.
//
// Whoever proves to an authenticator to be that principal, has the role: add them there first.
func (s *Store) Bootstrap(ctx context.Context, principal, role string) (added bool, err error) {
	err = s.Update(ctx, Root(), func(tx *Tx) error {
		added = false // it may be called again
		for name := range tx.principals.All() {
			if tx.administers(name) {
				return nil
			}
		}
		if r := tx.roleNamed(role); r == nil || r.allGlobals&tx.config.modify == 0 {
			return refuse(InvalidArgument, "role", role, "one with the permission to change the store")
		}
		added = true
		return tx.AssignRoleUntil(principal, role, time.Time{})
	})
	return added && err == nil, err
}
