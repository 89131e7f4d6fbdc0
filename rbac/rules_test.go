package rbac_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/rbac"
)

func TestRules(t *testing.T) {
	tokens := newTokens(t)
	bearer := map[string]string{"nobody": ""}
	for _, who := range []string{"user", "admin"} {
		bearer[who] = "Bearer " + newToken(t, tokens, who+"-1", who)
	}
	user, admin := rbac.Role("user"), rbac.Role("admin")
	rules := func() *rbac.Rules { return new(rbac.Rules) }

	for name, tt := range map[string]struct {
		rules    *rbac.Rules
		method   string
		endpoint string
		who      string
		want     rbac.Reason
	}{
		"no rule refuses":                                {rules(), "GET", "", "admin", rbac.NoRule},
		"a role is enough":                               {rules().Require(user, "GET"), "GET", "", "user", rbac.ByRole},
		"another is not":                                 {rules().Require(user, "GET"), "GET", "", "admin", rbac.Insufficient},
		"nobody has none":                                {rules().Require(user, "GET"), "GET", "", "nobody", rbac.MissingHeader},
		"a rule is for its method":                       {rules().Require(user, "GET"), "POST", "", "user", rbac.NoRule},
		"methods are upper-cased":                        {rules().Require(user, "get"), "GET", "", "user", rbac.ByRole},
		"those of a request are not":                     {rules().Require(user, "GET"), "get", "", "user", rbac.NoRule},
		"any of a list is enough":                        {rules().Require(rbac.AnyOf{user, admin}, "GET"), "GET", "", "admin", rbac.ByRole},
		"lists may be in lists":                          {rules().Require(rbac.AnyOf{user, rbac.AnyOf{admin}}, "GET"), "GET", "", "admin", rbac.ByRole},
		"the last call counts":                           {rules().Require(user, "GET").Require(admin, "GET"), "GET", "", "user", rbac.Insufficient},
		"and nothing is merged":                          {rules().Require(user, "GET").Require(admin, "GET"), "GET", "", "admin", rbac.ByRole},
		"the last call counts also after AllowAll":       {rules().Require(user, "GET").AllowAll(), "GET", "", "nobody", rbac.AllowedToAll},
		"and after DenyAll":                              {rules().Require(user, "GET").DenyAll(), "GET", "", "user", rbac.DeniedToAll},
		"DenyAll is for every method":                    {rules().DenyAll(), "BREW", "", "admin", rbac.DeniedToAll},
		"AllowAll too":                                   {rules().AllowAll(), "BREW", "", "nobody", rbac.AllowedToAll},
		"a rule is before DenyAll's":                     {rules().DenyAll().Require(user, "GET"), "GET", "", "user", rbac.ByRole},
		"Deny refuses whoever asks":                      {rules().AllowAll().Deny("DELETE"), "DELETE", "", "admin", rbac.DeniedToAll},
		"but only that method":                           {rules().AllowAll().Deny("DELETE"), "PUT", "", "nobody", rbac.AllowedToAll},
		"Exempt lets in whoever asks":                    {rules().DenyAll().Exempt("GET"), "GET", "", "nobody", rbac.AllowedToAll},
		"a method in lower case is not let in around it": {rules().AllowAll().Deny("DELETE"), "delete", "", "user", rbac.NoRule},
		"nor around a role":                              {rules().AllowAll().Require(admin, "GET"), "gEt", "", "user", rbac.NoRule},
		"nor as a HEAD":                                  {rules().AllowAll().Require(admin, "GET"), "head", "", "admin", rbac.NoRule},
		"nor around the rule of an action":               {rules().AllowAll().RequireAction("export", admin, "GET"), "get", "export", "user", rbac.NoRule},
		"it is another where there is no rule":           {rules().AllowAll().Deny("DELETE"), "put", "", "user", rbac.AllowedToAll},
		"but only to that method":                        {rules().DenyAll().Exempt("GET"), "PUT", "", "admin", rbac.DeniedToAll},
		"Denied beats Anonymous":                         {rules().Require(rbac.AnyOf{rbac.Anonymous, rbac.Denied}, "GET"), "GET", "", "admin", rbac.DeniedToAll},
		"Denied beats a role":                            {rules().Require(rbac.AnyOf{user, rbac.Denied}, "GET"), "GET", "", "user", rbac.DeniedToAll},
		"Anonymous beats a role":                         {rules().Require(rbac.AnyOf{user, rbac.Anonymous}, "GET"), "GET", "", "nobody", rbac.AllowedToAll},
		"HEAD takes what GET takes":                      {rules().Require(user, "GET"), "HEAD", "", "user", rbac.ByRole},
		"no less":                                        {rules().Require(user, "GET"), "HEAD", "", "admin", rbac.Insufficient},
		"also after DenyAll":                             {rules().DenyAll().Require(user, "GET"), "HEAD", "", "user", rbac.ByRole},
		"unless there is a rule for HEAD":                {rules().Require(user, "GET").Deny("HEAD"), "HEAD", "", "user", rbac.DeniedToAll},
		"and GET does not take what HEAD takes":          {rules().Require(user, "HEAD"), "GET", "", "user", rbac.NoRule},
		"OPTIONS is a method as any other":               {rules().Require(user, "GET"), "OPTIONS", "", "user", rbac.NoRule},
		"an action has rules of its own":                 {rules().Require(user, "GET").RequireAction("export", admin, "GET"), "GET", "export", "user", rbac.Insufficient},
		"which are for nothing else":                     {rules().Require(user, "GET").RequireAction("export", admin, "GET"), "GET", "", "user", rbac.ByRole},
		"for other methods it has the default ones":      {rules().Require(user, "PUT").RequireAction("export", admin, "GET"), "PUT", "export", "user", rbac.ByRole},
		"HEAD on an action is GET on it":                 {rules().Require(user, "GET").RequireAction("export", admin, "GET"), "HEAD", "export", "admin", rbac.ByRole},
		"a rule for HEAD on all is before it":            {rules().Require(user, "HEAD").RequireAction("export", admin, "GET"), "HEAD", "export", "user", rbac.ByRole},
		"DenyAll leaves actions alone":                   {rules().RequireAction("export", admin, "GET").DenyAll(), "GET", "export", "admin", rbac.ByRole},
		"AllowAll does, too":                             {rules().RequireAction("export", admin, "GET").AllowAll(), "GET", "export", "user", rbac.Insufficient},
		"DenyAction refuses":                             {rules().AllowAll().DenyAction("purge", "POST"), "POST", "purge", "admin", rbac.DeniedToAll},
		"ExemptAction lets in":                           {rules().DenyAll().ExemptAction("ping", "GET"), "GET", "ping", "nobody", rbac.AllowedToAll},
		"a declared action is there":                     {rules().DenyAll().Action(rbac.Action{Name: "act", Methods: []string{"GET"}, Require: user}), "GET", "act", "user", rbac.ByRole},
		"its rules come first, whenever it is said":      {rules().DenyAction("act", "GET").Action(rbac.Action{Name: "act", Methods: []string{"GET"}, Require: user}), "GET", "act", "user", rbac.DeniedToAll},
		"without a permission it is Denied":              {rules().AllowAll().Action(rbac.Action{Name: "act", Methods: []string{"GET"}}), "GET", "act", "admin", rbac.DeniedToAll},
		"without methods it is a GET":                    {rules().DenyAll().Action(rbac.Action{Name: "act", Require: user}), "GET", "act", "user", rbac.ByRole},
		"and no POST":                                    {rules().DenyAll().Action(rbac.Action{Name: "act", Require: user}), "POST", "act", "user", rbac.DeniedToAll},
		"with arguments it is a POST":                    {rules().DenyAll().Action(rbac.Action{Name: "act", Arguments: true, Require: user}), "POST", "act", "user", rbac.ByRole},
		"and no GET":                                     {rules().DenyAll().Action(rbac.Action{Name: "act", Arguments: true, Require: user}), "GET", "act", "user", rbac.DeniedToAll},
		"the star is another way to say no action":       {rules().Require(user, "GET"), "GET", rbac.Every, "user", rbac.ByRole},
		"an action nobody named has the default one":     {rules().Require(user, "GET"), "GET", "nobody-named-it", "admin", rbac.Insufficient},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, tokens, tt.rules)
			header := http.Header{}
			if text := bearer[tt.who]; text != "" {
				header.Set("Authorization", text)
			}
			d := s.Authorize(t.Context(), rbac.Request{Method: tt.method, Endpoint: tt.endpoint, Header: header})
			require.Equal(t, tt.want, d.Reason)
			require.Equal(t, tt.want.Status() == http.StatusOK, d.Allowed)
		})
	}
}

// TestRulesRefused: each call that makes no sense is named, and the others are checked as well.
func TestRulesRefused(t *testing.T) {
	rules := func() *rbac.Rules { return new(rbac.Rules) }
	user := rbac.Role("user")
	var endless = make(rbac.AnyOf, 1)
	endless[0] = endless
	denied := rbac.Denied
	for name, tt := range map[string]struct {
		rules *rbac.Rules
		call  string
		value string
	}{
		"a pointer":                   {rules().Require(rbac.AnyOf{&denied, user}, "GET"), "Require", "a pointer"},
		"one of ours that is nil":     {rules().Require((*ofTenant)(nil), "GET"), "Require", "a permission whose String panics"},
		"no permission":               {rules().Require(nil, "GET"), "Require", "nil"},
		"an empty list":               {rules().Require(rbac.AnyOf{}, "GET"), "Require", "an empty list"},
		"an empty list in a list":     {rules().Require(rbac.AnyOf{user, rbac.AnyOf{}}, "GET"), "Require", "an empty list"},
		"nothing in a list":           {rules().Require(rbac.AnyOf{user, nil}, "GET"), "Require", "nil"},
		"a list without an end":       {rules().Require(endless, "GET"), "Require", "lists in lists"},
		"a role without a name":       {rules().Require(rbac.Role(""), "GET"), "Require", `Role("")`},
		"a role with a line break":    {rules().Require(rbac.Role("a\n"), "GET"), "Require", `Role("a\n")`},
		"a role called denied":        {rules().Require(rbac.Role("denied"), "GET"), "Require", `Role("denied")`},
		"or Anonymous":                {rules().Require(rbac.AnyOf{rbac.Role("Anonymous")}, "GET"), "Require", `Role("Anonymous")`},
		"a subject of no parameter":   {rules().Require(rbac.CurrentSubject(""), "GET"), "Require", `CurrentSubject("")`},
		"an unknown kind":             {rules().Require(rbac.Kind(2), "GET"), "Require", "an unknown Kind"},
		"no method":                   {rules().Require(user), "Require", "no methods"},
		"an empty method":             {rules().Require(user, "GET", ""), "Require", `the method ""`},
		"two methods in one":          {rules().Require(user, "GET,POST"), "Require", `the method "GET,POST"`},
		"a star for a method":         {rules().Require(user, "*"), "Require", `the method "*"`},
		"no method to deny":           {rules().Deny(), "Deny", "no methods"},
		"no method to exempt":         {rules().Exempt(), "Exempt", "no methods"},
		"an action without a name":    {rules().RequireAction("", user, "GET"), "RequireAction", `the action ""`},
		"an action for all":           {rules().DenyAction("*", "GET"), "DenyAction", `the action "*"`},
		"an exempt action for all":    {rules().ExemptAction("*", "GET"), "ExemptAction", `the action "*"`},
		"a declared one without name": {rules().Action(rbac.Action{Require: user}), "Action", `the action ""`},
		"one that is declared twice":  {rules().Action(rbac.Action{Name: "a"}).Action(rbac.Action{Name: "a", Require: user}), "Action", `the action "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			tt.rules.Require(user, "").Require(user, "PUT")
			s, err := rbac.NewService(newTokens(t), tt.rules)
			require.Nil(t, s)
			require.ErrorIs(t, err, chansec.ErrInvalid)
			list := err.(interface{ Unwrap() []error }).Unwrap()
			require.Len(t, list, 2)
			problem, ok := errors.AsType[*rbac.RuleError](list[0])
			require.True(t, ok)
			require.Equal(t, tt.call, problem.Call)
			require.Equal(t, tt.value, problem.Value)
			require.NotEmpty(t, problem.Want)
			require.Contains(t, err.Error(), "call "+string(rune('0'+problem.Number))+", "+tt.call+": "+tt.value+": want ")
		})
	}
}

func TestACallThatMakesNoSenseHasNoEffect(t *testing.T) {
	rules := new(rbac.Rules).Require(rbac.Role("user"), "GET", "P OST")
	_, err := rbac.NewService(newTokens(t), rules)
	require.EqualError(t, err, `rbac: call 1, Require: the method "P OST": want one method in each string, such as "GET"`)
	long := new(rbac.Rules).Require(rbac.Role("user"), strings.Repeat("x", 1<<16))
	_, err = rbac.NewService(newTokens(t), long)
	require.Less(t, len(err.Error()), 256)
}

func TestServiceRefused(t *testing.T) {
	for name, make := range map[string]func() (*rbac.Service, error){
		"without a verifier":   func() (*rbac.Service, error) { return rbac.NewService(nil, new(rbac.Rules)) },
		"without rules":        func() (*rbac.Service, error) { return rbac.NewService(newTokens(t), nil) },
		"with a nil option":    func() (*rbac.Service, error) { return rbac.NewService(newTokens(t), new(rbac.Rules), nil) },
		"with a nil Check":     func() (*rbac.Service, error) { return rbac.NewService(newTokens(t), new(rbac.Rules), rbac.Check(nil)) },
		"with nothing at all":  func() (*rbac.Service, error) { return rbac.NewService(nil, nil) },
		"with Check and error": func() (*rbac.Service, error) { return rbac.NewService(nil, new(rbac.Rules).Deny(), rbac.Check(allow)) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := make()
			require.Nil(t, s)
			require.ErrorIs(t, err, chansec.ErrInvalid)
		})
	}
	for _, s := range []*rbac.Service{nil, {}} {
		require.Equal(t, rbac.Decision{Reason: rbac.NoRule}, s.Authorize(t.Context(), rbac.Request{Method: "GET"}))
	}
}

// TestAServiceKeepsItsRules: what is said later is for other services.
func TestAServiceKeepsItsRules(t *testing.T) {
	rules := new(rbac.Rules).ExemptAction("ping", "GET").DenyAll()
	tokens := newTokens(t)
	before := newService(t, tokens, rules)
	after := newService(t, tokens, rules.AllowAll().ExemptAction("new", "GET"))
	require.False(t, before.Authorize(t.Context(), rbac.Request{Method: "GET"}).Allowed)
	require.False(t, before.Authorize(t.Context(), rbac.Request{Method: "GET", Endpoint: "new"}).Allowed)
	require.True(t, after.Authorize(t.Context(), rbac.Request{Method: "GET"}).Allowed)
	_, err := before.Middleware("new")
	require.ErrorIs(t, err, chansec.ErrInvalid)
	_, err = after.Middleware("new")
	require.NoError(t, err)
}

func TestPermissions(t *testing.T) {
	params := func(name string) string { return map[string]string{"object_id": "U1", "empty": ""}[name] }
	u1 := &rbac.Claims{Subject: "U1", Roles: []string{"user", "denied", "anonymous"}}
	for _, tt := range []struct {
		permission rbac.Permission
		claims     *rbac.Claims
		want       bool
		text       string
	}{
		{rbac.Role("user"), u1, true, "ROLE_USER"},
		{rbac.Role("User"), u1, false, "ROLE_USER"},
		{rbac.Role("user "), u1, false, "ROLE_USER "},
		{rbac.Role("user"), nil, false, "ROLE_USER"},
		{rbac.Denied, u1, false, "ROLE_DENIED"},
		{rbac.Anonymous, nil, true, "ROLE_ANONYMOUS"},
		{rbac.CurrentSubject("object_id"), u1, true, "AUTHORITY_CURRENT_USER(object_id)"},
		{rbac.CurrentSubject("object_id"), &rbac.Claims{Subject: "U2"}, false, "AUTHORITY_CURRENT_USER(object_id)"},
		{rbac.CurrentSubject("empty"), &rbac.Claims{}, false, "AUTHORITY_CURRENT_USER(empty)"},
		{rbac.CurrentSubject("absent"), &rbac.Claims{}, false, "AUTHORITY_CURRENT_USER(absent)"},
		{rbac.AnyOf{rbac.Role("x"), rbac.CurrentSubject("object_id")}, u1, true, "ROLE_X or AUTHORITY_CURRENT_USER(object_id)"},
		{rbac.AnyOf{rbac.Role("user"), rbac.Denied}, u1, false, "ROLE_USER or ROLE_DENIED"},
		{rbac.AnyOf{}, u1, false, ""},
		{rbac.AnyOf{nil}, u1, false, "nothing"},
		{ofTenant("object_id"), u1, false, "AUTHORITY_TENANT"},
	} {
		require.Equal(t, tt.want, tt.permission.Satisfied(tt.claims, params), tt.text)
		require.Equal(t, tt.text, tt.permission.String())
	}
	require.False(t, rbac.CurrentSubject("object_id").Satisfied(u1, nil))
}
