package rbac_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/rbac"
)

// TestConcurrentUse: handlers answer, authorizers decide and tokens are made while the rules and the mux that they were made
// of change.
func TestConcurrentUse(t *testing.T) {
	tokens := newTokens(t)
	rules := users()
	s := newService(t, tokens, rules)
	var mux rbac.Mux
	mux.Handle("/users/{object_id}", s, says)
	handler, err := mux.Handler()
	require.NoError(t, err)
	token := newToken(t, tokens, "U1", "user")

	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			for i := range 50 {
				if code := serve(handler, request("GET", "/users/U1", token)).Code; code != http.StatusOK {
					t.Errorf("status %d", code)
				}
				if code := serve(handler, request("PATCH", "/users/U2", token)).Code; code != http.StatusForbidden {
					t.Errorf("status %d", code)
				}
				if i%10 == 0 {
					if _, err := tokens.Token(rbac.Identity{ID: strconv.Itoa(n)}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range 100 {
		rules.AllowAll().Require(rbac.Role("nobody"), "GET").RequireAction("a"+strconv.Itoa(i), rbac.Role("x"), "GET")
		mux.Handle("/"+strconv.Itoa(i), newService(t, tokens, rules), says)
		_, err := mux.Handler()
		require.NoError(t, err)
	}
	group.Wait()
}
