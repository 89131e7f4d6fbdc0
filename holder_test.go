package chansec

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHoldersAreThoseWhoHoldSomethingOpen(t *testing.T) {
	acl := aclOf(t, ACLWrite("w"), ACLRead("ann"), ACLRead("bob"), ACLRead("cy"))
	ch := aPassthrough.started(t, WithSecurity(acl))
	require.Empty(t, slices.Collect(ch.Holders()))

	subscribe(t, ch.as("bob"))
	closed := subscribe(t, ch.as("bob"))
	ann := subscribe(t, ch.as("ann"))
	session := newSessionCaller(Principal{SystemID: "cy", Roles: []string{"night"}})
	subscribe(t, ch.of(session))
	_, err := ch.as("w").Write(t.Context(), "job")
	require.NoError(t, err)
	_, err = ch.as("bob").(Worker[string]).Claim(t.Context(), 1)
	require.NoError(t, err)

	name := func(op Operation, id string) Holder { return Holder{"room", op, Principal{SystemID: id}} }
	cy := Holder{"room", OpSubscribe, Principal{SystemID: "cy", Roles: []string{"night"}}}
	require.Equal(t, []Holder{name(OpSubscribe, "ann"), name(OpClaim, "bob"), name(OpSubscribe, "bob"), name(OpSubscribe, "bob"), cy},
		slices.Collect(ch.Holders()))

	require.NoError(t, closed.Close())
	acl.Revoke("ann")
	<-ann.Done()
	session.set(Principal{SystemID: "cy"}, nil)
	cy.Principal.Roles = nil
	require.Equal(t, []Holder{name(OpClaim, "bob"), name(OpSubscribe, "bob"), cy}, slices.Collect(ch.Holders()))
	for range ch.Holders() {
		break // a loop may be left
	}
}
