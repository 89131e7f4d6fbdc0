package chansec

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// tokenSecret is the secret of the tests' keys, as long as the longest hash.
var tokenSecret = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

func hs256(t testing.TB, id string) Key {
	t.Helper()
	key, err := HMACKey(id, "HS256", tokenSecret)
	require.NoError(t, err)
	return key
}

func aclWith(t testing.TB, opts ...ACLOption) *ACLSecurity {
	t.Helper()
	a, err := NewACLSecurity(opts...)
	require.NoError(t, err)
	return a
}

func jwtWith(t testing.TB, key Key, opts ...JWTOption) *JWTSecurity {
	t.Helper()
	j, err := NewJWTSecurity(key, opts...)
	require.NoError(t, err)
	return j
}

func joinOf(t testing.TB, a Authenticator, z Authorizer, i TokenIssuer) ChannelSecurity {
	t.Helper()
	s, err := Join(a, z, i)
	require.NoError(t, err)
	return s
}

func mint(t testing.TB, issuer TokenIssuer, req TokenRequest) string {
	t.Helper()
	text, err := issuer.GenerateToken(t.Context(), req)
	require.NoError(t, err)
	return text
}

func authenticated(t testing.TB, a Authenticator, token string) Principal {
	t.Helper()
	p, err := a.Authenticate(t.Context(), token)
	require.NoError(t, err)
	return p
}

// forge signs a header and claims, whatever they are, with tokenSecret and HS256.
func forge(header, claims string) string {
	b := base64.RawURLEncoding
	signed := b.EncodeToString([]byte(header)) + "." + b.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, tokenSecret)
	mac.Write([]byte(signed))
	return signed + "." + b.EncodeToString(mac.Sum(nil))
}

// rightsOf returns what an authorizer says to reading, writing and administering.
func rightsOf(t testing.TB, z Authorizer, systemID, channelID string) (rights [3]bool) {
	t.Helper()
	for i, ask := range []func(context.Context, string, string) (bool, error){z.AuthorizeRead, z.AuthorizeWrite, z.AuthorizeAdmin} {
		ok, err := ask(t.Context(), systemID, channelID)
		require.NoError(t, err)
		rights[i] = ok
	}
	return rights
}

// fiveMethods is a security that hides what it could do beyond its interface, as decorators do.
type fiveMethods struct{ ChannelSecurity }

// everyOperation returns the operations that ports name.
func everyOperation() []Operation {
	return []Operation{OpRead, OpSubscribe, OpClaim, OpAcknowledge, OpNack, OpExtend, OpInfo, OpWrite, OpAdmin, OpClear, OpEvict, OpRemove}
}

// operate does an operation through a port.
func operate(ctx context.Context, port PassthroughPort[int], op Operation) (err error) {
	receipt := Receipt{ID: uuid.Max, Attempt: 1}
	switch op {
	case OpRead:
		_, err = port.Read(ctx, 1)
	case OpSubscribe:
		var l Lease[int]
		if l, err = port.Subscribe(ctx); err == nil {
			err = l.Close()
		}
	case OpClaim:
		_, err = port.Claim(ctx, 1)
	case OpAcknowledge:
		_, err = port.Acknowledge(ctx, receipt)
	case OpNack:
		_, err = port.Nack(ctx, receipt)
	case OpExtend:
		_, err = port.Extend(ctx, receipt)
	case OpInfo:
		_, err = port.Info(ctx)
	case OpWrite:
		_, err = port.Write(ctx, 1)
	case OpAdmin:
		_, err = port.Len(ctx)
	case OpClear:
		_, err = port.Clear(ctx)
	case OpEvict:
		_, err = port.EvictBeyond(ctx, 0)
	case OpRemove:
		_, err = port.Remove(ctx, uuid.Max)
	default:
		err = fmt.Errorf("no port does %q", op)
	}
	return err
}

func TestRolesAreParsedInAnyLettersOfASCII(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Role{
		"read": RoleRead, "READ": RoleRead, "Write": RoleWrite, "aDMIN": RoleAdmin,
	} {
		role, err := ParseRole(text)
		require.NoError(t, err, text)
		require.Equal(t, want, role)
	}
	for _, text := range []string{
		"", " ", " admin", "admin ", "admin\x00", "adm", "admins", "superuser", "none", "*",
		"ADM\u0130N",    // strings.ToLower makes i of it
		"adm\u0131n",    // dotless i
		"\uff21dmin",    // full-width A
		"read\u0301",    // combining accent
		"r\u00e9ad",     // accented
		"writ\u0435",    // Cyrillic e
		"\xffread",      // not UTF-8
		"read,write",    //
		"READ\u212a",    // Kelvin sign
		"admin\nadmin",  //
		"\"admin\"",     //
		"read\u200badd", // zero-width space
	} {
		role, err := ParseRole(text)
		require.ErrorIs(t, err, ErrInvalid, "%q", text)
		require.Empty(t, role)
		require.ErrorContains(t, err, `"read", "write" or "admin"`, "the remedy")
	}
}

func TestOperationsBelongToARole(t *testing.T) {
	t.Parallel()
	class := map[Operation]Role{
		OpRead: RoleRead, OpSubscribe: RoleRead, OpClaim: RoleRead, OpAcknowledge: RoleRead, OpNack: RoleRead, OpExtend: RoleRead,
		OpInfo: RoleRead, OpWrite: RoleWrite, OpAdmin: RoleAdmin, OpClear: RoleAdmin, OpEvict: RoleAdmin, OpRemove: RoleAdmin,
	}
	require.Len(t, class, len(everyOperation()))
	for _, op := range everyOperation() {
		require.Equal(t, class[op], op.Role(), op)
		parsed, err := ParseOperation(strings.ToUpper(string(op)))
		require.NoError(t, err)
		require.Equal(t, op, parsed)
	}
	for _, op := range []Operation{"", "READ", "destroy", "read ", OpAuthenticate} {
		require.Empty(t, op.Role(), "no role allows %q", op)
	}
	for _, text := range []string{"", "destroy", " read", "authenticate", "SUBSCR\u0130BE"} {
		op, err := ParseOperation(text)
		require.ErrorIs(t, err, ErrInvalid, text)
		require.Empty(t, op)
	}
}

func TestIDsAreTextOfAtMost512Bytes(t *testing.T) {
	t.Parallel()
	for _, check := range []func(string) error{CheckChannelID, CheckSystemID} {
		for name, id := range map[string]string{
			"a letter":                "a",
			"separators":              "a/b.c",
			"a space":                 "a b",
			"what looks like a path":  "../..",
			"what looks like a glob":  "*",
			"512 bytes":               strings.Repeat("x", 512),
			"256 letters of 2 bytes":  strings.Repeat("\u00e9", 256),
			"a line separator":        "a\u2028b", // no control character to Unicode
			"the replacement letter":  "\ufffd",
			"the last control, and 1": "\u00a0",
		} {
			require.NoError(t, check(id), name)
		}
		for name, id := range map[string]string{
			"nothing":               "",
			"513 bytes":             strings.Repeat("x", 513),
			"half a letter":         strings.Repeat("x", 510) + "\xe2\x82",
			"Latin-1":               "caf\xe9",
			"an overlong slash":     "\xc0\xaf",
			"a surrogate":           "\xed\xa0\x80",
			"beyond Unicode":        "\xf4\x90\x80\x80",
			"a NUL":                 "a\x00",
			"a line feed":           "a\nb",
			"a tab first":           "\ta",
			"the last of ASCII":     "a\x7f",
			"the first C1 control":  "\u0080",
			"the last C1 control":   "a\u009f",
			"a megabyte":            strings.Repeat("x", 1<<20),
			"a megabyte of 0xff":    strings.Repeat("\xff", 1<<20),
			"a next-line character": "a\u0085b",
		} {
			err := check(id)
			require.ErrorIs(t, err, ErrInvalid, name)
			require.ErrorContains(t, err, "1 to 512 bytes", "the remedy")
			require.LessOrEqual(t, len(err.Error()), 512, name)
		}
	}
	require.ErrorContains(t, CheckChannelID("a\n"), `channel id "a\n"`)
	require.ErrorContains(t, CheckSystemID("a\n"), `system id "a\n"`)
}

func TestGrantCovers(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	later := now.Add(time.Hour)
	for _, row := range []struct {
		name    string
		grant   *Grant
		channel string
		op      Operation
		want    error
	}{
		{"no grant covers nothing", nil, "a", OpRead, ErrGrant},
		{"the zero grant is expired", &Grant{}, "a", OpRead, ErrExpired},
		{"no expiry is expired", &Grant{Role: RoleAdmin, AllChannels: true}, "a", OpRead, ErrExpired},
		{"a listed channel", &Grant{Role: RoleRead, Channels: []string{"x", "a"}, ExpiresAt: later}, "a", OpRead, nil},
		{"a channel that is not listed", &Grant{Role: RoleAdmin, Channels: []string{"x"}, ExpiresAt: later}, "a", OpRead, ErrGrant},
		{"no list is no channel", &Grant{Role: RoleAdmin, ExpiresAt: later}, "a", OpRead, ErrGrant},
		{"all channels", &Grant{Role: RoleRead, AllChannels: true, ExpiresAt: later}, "a", OpRead, nil},
		{"all channels beside a list", &Grant{Role: RoleRead, AllChannels: true, Channels: []string{"x"}, ExpiresAt: later}, "a", OpRead, nil},
		{"an ID in other letters", &Grant{Role: RoleRead, Channels: []string{"A"}, ExpiresAt: later}, "a", OpRead, ErrGrant},
		{"the beginning of an ID", &Grant{Role: RoleRead, Channels: []string{"ab"}, ExpiresAt: later}, "a", OpRead, ErrGrant},
		{"a star is an ordinary ID", &Grant{Role: RoleRead, Channels: []string{"*"}, ExpiresAt: later}, "a", OpRead, ErrGrant},
		{"an empty ID is listed by nobody", &Grant{Role: RoleRead, ExpiresAt: later}, "", OpRead, ErrGrant},
		{"a nanosecond before the end", &Grant{Role: RoleRead, AllChannels: true, ExpiresAt: now.Add(1)}, "a", OpRead, nil},
		{"the end", &Grant{Role: RoleRead, AllChannels: true, ExpiresAt: now}, "a", OpRead, ErrExpired},
		{"a nanosecond after the end", &Grant{Role: RoleRead, AllChannels: true, ExpiresAt: now.Add(-1)}, "a", OpRead, ErrExpired},
		{"expired comes first", &Grant{Role: RoleRead, ExpiresAt: now}, "a", OpClear, ErrExpired},
		{"no role", &Grant{AllChannels: true, ExpiresAt: later}, "a", OpRead, ErrGrant},
		{"an unknown role", &Grant{Role: "superuser", AllChannels: true, ExpiresAt: later}, "a", OpRead, ErrGrant},
		{"a role in other letters", &Grant{Role: "WRITE", AllChannels: true, ExpiresAt: later}, "a", OpWrite, nil},
		{"a role in other letters, too low", &Grant{Role: "WRITE", AllChannels: true, ExpiresAt: later}, "a", OpClear, ErrGrant},
		{"an unknown operation", &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: later}, "a", "destroy", ErrGrant},
		{"an unknown operation and no role", &Grant{AllChannels: true, ExpiresAt: later}, "a", "destroy", ErrGrant},
		{"no operation", &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: later}, "a", "", ErrGrant},
	} {
		require.Equal(t, row.want, row.grant.Covers(row.channel, row.op, now), row.name)
	}
	for i, role := range []Role{RoleRead, RoleWrite, RoleAdmin} {
		g := &Grant{Role: role, AllChannels: true, ExpiresAt: later}
		for _, op := range everyOperation() {
			covered := slices.Index(ranks[:], op.Role()) <= i
			require.Equal(t, covered, g.Covers("a", op, now) == nil, "%s for %s", role, op)
		}
	}
}

// TestTokenRequestsThatMakeNoSense goes for every issuer that looks at what it is asked.
func TestTokenRequestsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	issuers := map[string]TokenIssuer{"ACL": aclWith(t), "JWT": jwtWith(t, hs256(t, ""))}
	channels := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprint("c", i)
		}
		return list
	}
	one := []string{"c"}
	for _, row := range []struct {
		name string
		req  TokenRequest
		says string
	}{
		{"nothing", TokenRequest{}, "role"},
		{"no role", TokenRequest{SystemID: "s", Channels: one}, `role ""`},
		{"an unknown role", TokenRequest{SystemID: "s", Role: "superuser", Channels: one}, `role "superuser"`},
		{"a Turkish role", TokenRequest{SystemID: "s", Role: "ADM\u0130N", Channels: one}, "role"},
		{"no system", TokenRequest{Role: RoleRead, Channels: one}, `system id ""`},
		{"a system with a line feed", TokenRequest{SystemID: "s\n", Role: RoleRead, Channels: one}, `system id "s\n"`},
		{"a system that is not UTF-8", TokenRequest{SystemID: "s\xff", Role: RoleRead, Channels: one}, `system id "s\xff"`},
		{"a damaged system", TokenRequest{SystemID: "s\ufffd", Role: RoleRead, Channels: one}, "U+FFFD"},
		{"a system of 513 bytes", TokenRequest{SystemID: strings.Repeat("s", 513), Role: RoleRead, Channels: one}, "513 bytes"},
		{"an empty channel", TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"c", ""}}, `channel id ""`},
		{"a channel with a NUL", TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"c\x00"}}, `channel id "c\x00"`},
		{"a channel that is not UTF-8", TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"\xff"}}, "channel id"},
		{"a damaged channel", TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"\ufffd"}}, "U+FFFD"},
		{"a channel of 513 bytes", TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{strings.Repeat("c", 513)}}, "513 bytes"},
		{"257 channels", TokenRequest{SystemID: "s", Role: RoleRead, Channels: channels(257)}, "at most 256"},
		{"some channels and all", TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true, Channels: one}, "one of the two"},
		{"a negative lifetime", TokenRequest{SystemID: "s", Role: RoleRead, Channels: one, ExpiresIn: -1}, "-1ns"},
	} {
		for issuer, i := range issuers {
			text, err := i.GenerateToken(t.Context(), row.req)
			require.ErrorIs(t, err, ErrInvalid, "%s: %s", issuer, row.name)
			require.ErrorContains(t, err, row.says, "%s: %s", issuer, row.name)
			require.Empty(t, text)
			require.LessOrEqual(t, len(err.Error()), 512)
		}
	}
	for name, req := range map[string]TokenRequest{
		"256 channels":           {SystemID: "s", Role: RoleRead, Channels: channels(256)},
		"IDs of 512 bytes":       {SystemID: strings.Repeat("s", 512), Role: RoleRead, Channels: []string{strings.Repeat("c", 512)}},
		"all channels":           {SystemID: "s", Role: RoleRead, AllChannels: true},
		"a role in capitals":     {SystemID: "s", Role: "ADMIN", AllChannels: true},
		"the shortest lifetime":  {SystemID: "s", Role: RoleRead, AllChannels: true, ExpiresIn: time.Second},
		"the default's lifetime": {SystemID: "s", Role: RoleRead, AllChannels: true, ExpiresIn: DefaultTokenLifetime},
	} {
		for issuer, i := range issuers {
			_, err := i.GenerateToken(t.Context(), req)
			require.NoError(t, err, "%s: %s", issuer, name)
		}
	}
}

// nobody is a caller whose credential is good no more.
type nobody struct{}

func (nobody) Principal() (Principal, error) { return Principal{SystemID: "s"}, ErrUnauthenticated }
func (nobody) Changed() <-chan struct{}      { return nil }

// yes is a security that a program may have written, too kind.
type yes struct{ OpenSecurity }

func (yes) Decide(context.Context, Request) (Decision, error) { return Decision{Allowed: true}, nil }

// kindsOfDenial are those for which a credential is the reason.
var kindsOfDenial = []error{ErrExpired, ErrRevoked, ErrGrant}

// requireDenial checks that an error is a denial of one of these kinds, where nil is no kind, and of no other.
func requireDenial(t testing.TB, err error, kinds []error, msg ...any) {
	t.Helper()
	require.ErrorIs(t, err, ErrPermission, msg...)
	require.NotErrorIs(t, err, ErrUndecided, msg...)
	var is error
	for _, kind := range kindsOfDenial {
		if errors.Is(err, kind) {
			require.NoError(t, is, msg...)
			is = kind
		}
	}
	require.Contains(t, kinds, is, msg...)
	require.LessOrEqual(t, len(err.Error()), 512)
}

// reach is how far somebody gets on the channel of the decision table.
type reach int

const (
	nowhere reach = iota
	byRole        // as far as their role, and no further
	anywhere
)

// TestDecisionTable is every security, and who comes to it how, with every role they may have been given, through every
// operation of a port. It says how far they get and, for what they are denied, whether the credential is the reason:
// ErrExpired, ErrRevoked or ErrGrant, and otherwise none of them. Beyond the role of a credential, ErrGrant is a
// reason, too.
func TestDecisionTable(t *testing.T) {
	t.Parallel()
	type world struct {
		acl        *ACLSecurity
		jwt, other *JWTSecurity
		role       Role
	}
	const here, elsewhere = "here", "elsewhere"
	token := func(t *testing.T, w *world, channels ...string) string {
		return mint(t, w.jwt, TokenRequest{SystemID: "s", Role: w.role, Channels: channels, ExpiresIn: time.Hour})
	}
	static := func(p Principal) func(*testing.T, *world) Caller {
		return func(*testing.T, *world) Caller { return StaticCaller(p) }
	}
	as := func(name string) func(*testing.T, *world) any {
		return func(*testing.T, *world) any { return name }
	}
	caller := func(f func(*testing.T, *world) Caller) func(*testing.T, *world) any {
		return func(t *testing.T, w *world) any { return f(t, w) }
	}
	holder := func(channels ...string) func(*testing.T, *world) any {
		return func(t *testing.T, w *world) any {
			return StaticCaller(authenticated(t, w.jwt, token(t, w, channels...)))
		}
	}
	then := func(who func(*testing.T, *world) any, happens func(*testing.T, *world)) func(*testing.T, *world) any {
		return func(t *testing.T, w *world) any {
			p := who(t, w)
			happens(t, w)
			return p
		}
	}
	hourPasses := func(*testing.T, *world) { time.Sleep(time.Hour) }
	listed := func(role Role, who ...string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for _, id := range who {
				require.NoError(t, w.acl.Grant(id, role))
			}
		}
	}
	listedFor := func(channel string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { require.NoError(t, w.acl.GrantOn("s", w.role, channel)) }
	}
	listedAs := func(t *testing.T, w *world) { require.NoError(t, w.acl.Grant("s", w.role)) }
	all := func(happen ...func(*testing.T, *world)) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for _, f := range happen {
				f(t, w)
			}
		}
	}
	revokedInACL := func(t *testing.T, w *world) { require.True(t, w.acl.Revoke("s")) }
	subjectRevoked := func(t *testing.T, w *world) { require.NoError(t, w.jwt.RevokeSubject("s", time.Now())) }
	keyRemoved := func(t *testing.T, w *world) {
		require.NoError(t, w.jwt.Rotate(hs256(t, "next")))
		require.NoError(t, w.jwt.RemoveKey("k"))
	}
	tokenRevoked := func(t *testing.T, w *world) any {
		p := authenticated(t, w.jwt, token(t, w, here))
		require.NoError(t, w.jwt.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt))
		return StaticCaller(p)
	}
	grant := func(channels ...string) func(*testing.T, *world) any {
		return func(_ *testing.T, w *world) any {
			return StaticCaller(Principal{SystemID: "s", Proof: "tls", Grant: &Grant{Role: w.role, Channels: channels, ExpiresAt: time.Now().Add(time.Hour)}})
		}
	}
	foreign := caller(static(Principal{SystemID: "s", Proof: "tls"}))
	renamed := func(t *testing.T, w *world) any {
		p := authenticated(t, w.jwt, token(t, w, here))
		p.SystemID = "root"
		return StaticCaller(p)
	}
	stripped := func(t *testing.T, w *world) any { // all that is exported of a principal, and nothing else
		p := authenticated(t, w.jwt, token(t, w, here))
		return StaticCaller(Principal{SystemID: p.SystemID, Proof: p.Proof, Grant: p.Grant})
	}
	widened := func(channels ...string) func(*testing.T, *world) any {
		return func(t *testing.T, w *world) any {
			p := authenticated(t, w.jwt, token(t, w, channels...))
			p.Grant = &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: time.Now().Add(10 * time.Hour)}
			return StaticCaller(p)
		}
	}
	unbounded := func(t *testing.T, w *world) any {
		p := authenticated(t, w.jwt, token(t, w, here))
		p.Grant = nil
		return StaticCaller(p)
	}
	ofAnother := func(t *testing.T, w *world) any {
		return StaticCaller(authenticated(t, w.other, mint(t, w.other, TokenRequest{SystemID: "s", Role: w.role, AllChannels: true})))
	}

	open := func(*testing.T, *world) ChannelSecurity { return OpenSecurity{} }
	acl := func(_ *testing.T, w *world) ChannelSecurity { return w.acl }
	jwt := func(_ *testing.T, w *world) ChannelSecurity { return w.jwt }
	jwtAnd := func(opts ...JWTOption) func(*testing.T, *world) ChannelSecurity {
		return func(t *testing.T, w *world) ChannelSecurity { w.jwt = jwtWith(t, hs256(t, "k"), opts...); return w.jwt }
	}
	jwtLocalACL := func(t *testing.T, w *world) ChannelSecurity {
		w.jwt = jwtWith(t, hs256(t, "k"), JWTLocal(w.acl))
		return w.jwt
	}
	jwtLocalPlain := func(t *testing.T, w *world) ChannelSecurity {
		w.jwt = jwtWith(t, hs256(t, "k"), JWTLocal(fiveMethods{w.acl}))
		return w.jwt
	}
	joined := func(t *testing.T, w *world) ChannelSecurity { return joinOf(t, w.jwt, w.acl, w.jwt) }
	plain := func(s func(*testing.T, *world) ChannelSecurity) func(*testing.T, *world) ChannelSecurity {
		return func(t *testing.T, w *world) ChannelSecurity { return fiveMethods{s(t, w)} }
	}

	for _, row := range []struct {
		name     string
		security func(*testing.T, *world) ChannelSecurity
		who      func(*testing.T, *world) any // a name for As, or a Caller for For
		want     reach
		because  error // of every denial within the role
	}{
		{"Open: whoever is wired in", open, as("s"), anywhere, nil},
		{"Open: whoever is wired in under an impossible name", open, as("s\n"), nowhere, nil},
		{"Open: a caller by name", open, caller(static(Principal{SystemID: "s"})), anywhere, nil},
		{"Open: a caller without a name", open, caller(static(Principal{})), nowhere, nil},
		{"Open: no caller", open, caller(func(*testing.T, *world) Caller { return nil }), nowhere, nil},
		{"Open: a caller who is nobody any more", open, caller(func(*testing.T, *world) Caller { return nobody{} }), nowhere, nil},
		{"Open: a grant that reaches here", open, grant(here), byRole, ErrGrant},
		{"Open: a grant that reaches elsewhere", open, grant(elsewhere), nowhere, ErrGrant},
		{"Open: a grant that reaches nowhere", open, grant(), nowhere, ErrGrant},
		{"Open: a grant whose time is over", open, then(grant(here), hourPasses), nowhere, ErrExpired},
		{"Open: the holder of a token", open, holder(here), byRole, ErrGrant},
		{"Open: the holder of a token that is over", open, then(holder(here), hourPasses), nowhere, ErrExpired},
		{"Open: the holder of a revoked token", open, tokenRevoked, nowhere, ErrRevoked},
		{"Open, decorated: whoever is wired in", plain(open), as("s"), anywhere, nil},
		{"Open, decorated: a grant that reaches here", plain(open), grant(here), byRole, ErrGrant},
		{"Open, decorated: a grant that reaches elsewhere", plain(open), grant(elsewhere), nowhere, ErrGrant},
		{"Open, decorated: the holder of a revoked token", plain(open), tokenRevoked, nowhere, ErrRevoked},

		{"ACL: listed for every channel", acl, then(as("s"), listedAs), byRole, nil},
		{"ACL: listed for this channel", acl, then(as("s"), listedFor(here)), byRole, nil},
		{"ACL: listed for another channel", acl, then(as("s"), listedFor(elsewhere)), nowhere, nil},
		{"ACL: not listed", acl, as("s"), nowhere, nil},
		{"ACL: somebody else is listed", acl, then(as("s"), listed(RoleAdmin, "S", "s ", "ss")), nowhere, nil},
		{"ACL: a name that cannot be listed", acl, as(""), nowhere, nil},
		{"ACL: listed for a time that is over", acl, func(t *testing.T, w *world) any {
			mint(t, w.acl, TokenRequest{SystemID: "s", Role: w.role, Channels: []string{here}, ExpiresIn: time.Minute})
			hourPasses(t, w)
			return "s"
		}, nowhere, nil},
		{"ACL: listed for a time that is not over", acl, func(t *testing.T, w *world) any {
			mint(t, w.acl, TokenRequest{SystemID: "s", Role: w.role, Channels: []string{here}, ExpiresIn: 2 * time.Hour})
			hourPasses(t, w)
			return "s"
		}, byRole, nil},
		{"ACL: revoked", acl, then(as("s"), all(listedAs, listedFor(here), revokedInACL)), nowhere, nil},
		{"ACL: revoked, then listed again", acl, then(as("s"), all(listedAs, revokedInACL, listedFor(here))), byRole, nil},
		{"ACL: its role was taken", acl, then(as("s"), all(listedFor(here), func(t *testing.T, w *world) {
			_, err := w.acl.RevokeRole("s", w.role)
			require.NoError(t, err)
			_, err = w.acl.RevokeRole("s", RoleRead)
			require.NoError(t, err)
		})), nowhere, nil},
		{"ACL: a caller by name, listed", acl, then(caller(static(Principal{SystemID: "s"})), listedAs), byRole, nil},
		{"ACL: a caller by name, not listed", acl, caller(static(Principal{SystemID: "s"})), nowhere, nil},
		{"ACL: listed for more than the token says", acl, then(holder(here), listed(RoleAdmin, "s")), byRole, ErrGrant},
		{"ACL: the holder of a token, not listed", acl, holder(here), nowhere, nil},
		{"ACL, decorated: listed for this channel", plain(acl), then(as("s"), listedFor(here)), byRole, nil},
		{"ACL, decorated: listed for another channel", plain(acl), then(as("s"), listedFor(elsewhere)), nowhere, nil},

		{"JWT: whoever is wired in", jwt, as("s"), anywhere, nil},
		{"JWT: the holder of a token for here", jwt, holder(here), byRole, ErrGrant},
		{"JWT: the holder of a token for here and many others", jwt, holder("1", "2", "3", "4", "5", "6", "7", "8", "9", here), byRole, ErrGrant},
		{"JWT: the holder of a token for many others", jwt, holder("1", "2", "3", "4", "5", "6", "7", "8", "9", "10"), nowhere, ErrGrant},
		{"JWT: the holder of a token for elsewhere", jwt, holder(elsewhere), nowhere, ErrGrant},
		{"JWT: the holder of a token for no channel", jwt, holder(), nowhere, ErrGrant},
		{"JWT: the holder of a token for every channel", jwt, func(t *testing.T, w *world) any {
			return StaticCaller(authenticated(t, w.jwt, mint(t, w.jwt, TokenRequest{SystemID: "s", Role: w.role, AllChannels: true})))
		}, byRole, ErrGrant},
		{"JWT: the holder of a token that is over", jwt, then(holder(here), hourPasses), nowhere, ErrExpired},
		{"JWT: the holder of a token for many that is over", jwt, then(holder("1", "2", "3", "4", "5", "6", "7", "8", "9", here), hourPasses), nowhere, ErrExpired},
		{"JWT: the holder of a revoked token", jwt, tokenRevoked, nowhere, ErrRevoked},
		{"JWT: the holder of a token whose subject was revoked", jwt, then(holder(here), subjectRevoked), nowhere, ErrRevoked},
		{"JWT: the holder of a token whose key was removed", jwt, then(holder(here), keyRemoved), nowhere, ErrRevoked},
		{"JWT: the holder of a token of another JWTSecurity", jwt, ofAnother, nowhere, nil},
		{"JWT: a holder whose name was changed on the way", jwt, renamed, nowhere, nil},
		{"JWT: a holder whose grant was widened on the way", jwt, widened(here), byRole, ErrGrant},
		{"JWT: a holder elsewhere whose grant was widened on the way", jwt, widened(elsewhere), nowhere, ErrGrant},
		{"JWT: a holder whose grant was dropped on the way", jwt, unbounded, byRole, ErrGrant},
		{"JWT: a principal made after the holder's", jwt, stripped, nowhere, nil},
		{"JWT: a caller whom something else authenticated", jwt, foreign, nowhere, nil},
		{"JWT, decorated: whoever is wired in", plain(jwt), as("s"), anywhere, nil},
		{"JWT, decorated: the holder of a token for here", plain(jwt), holder(here), byRole, ErrGrant},
		{"JWT, decorated: the holder of a token for elsewhere", plain(jwt), holder(elsewhere), nowhere, ErrGrant},
		{"JWT, decorated: the holder of a token that is over", plain(jwt), then(holder(here), hourPasses), nowhere, ErrExpired},
		{"JWT, decorated: the holder of a revoked token", plain(jwt), tokenRevoked, nowhere, ErrRevoked},
		{"JWT, decorated: the holder of a token of another JWTSecurity", plain(jwt), ofAnother, nowhere, nil},
		{"JWT, decorated: a holder whose name was changed on the way", plain(jwt), renamed, nowhere, nil},
		{"JWT, decorated: a holder whose grant was widened on the way", plain(jwt), widened(here), byRole, ErrGrant},
		{"JWT, decorated: a principal made after the holder's", plain(jwt), stripped, nowhere, nil},
		{"JWT, decorated: a caller whom something else authenticated", plain(jwt), foreign, nowhere, nil},

		{"JWT, strict: whoever is wired in", jwtAnd(JWTStrictLocal()), as("s"), nowhere, nil},
		{"JWT, strict: the holder of a token for here", jwtAnd(JWTStrictLocal()), holder(here), byRole, ErrGrant},
		{"JWT, strict: a caller whom something else authenticated", jwtAnd(JWTStrictLocal()), foreign, nowhere, nil},
		{"JWT, strict, decorated: whoever is wired in", plain(jwtAnd(JWTStrictLocal())), as("s"), nowhere, nil},
		{"JWT, strict, decorated: the holder of a token for here", plain(jwtAnd(JWTStrictLocal())), holder(here), byRole, ErrGrant},

		{"JWT with an ACL: listed", jwtLocalACL, then(as("s"), listedFor(here)), byRole, nil},
		{"JWT with an ACL: not listed", jwtLocalACL, as("s"), nowhere, nil},
		{"JWT with an ACL: the holder of a token, not listed", jwtLocalACL, holder(here), byRole, ErrGrant},
		{"JWT with an ACL: the holder of a revoked token, listed", jwtLocalACL, then(tokenRevoked, listed(RoleAdmin, "s")), nowhere, ErrRevoked},
		{"JWT with an ACL: another's caller, listed", jwtLocalACL, then(foreign, listedFor(here)), byRole, nil},
		{"JWT with an ACL: another's caller, not listed", jwtLocalACL, foreign, nowhere, nil},
		{"JWT with a plain authorizer: listed", jwtLocalPlain, then(as("s"), listedFor(here)), byRole, nil},
		{"JWT with a plain authorizer: not listed", jwtLocalPlain, as("s"), nowhere, nil},
		{"JWT with a plain authorizer: another's caller, listed", jwtLocalPlain, then(foreign, listedFor(here)), byRole, nil},
		{"JWT with a plain authorizer: another's caller, not listed", jwtLocalPlain, foreign, nowhere, nil},
		{"JWT with an ACL, decorated: listed", plain(jwtLocalACL), then(as("s"), listedFor(here)), byRole, nil},
		{"JWT with an ACL, decorated: not listed", plain(jwtLocalACL), as("s"), nowhere, nil},
		{"JWT with an ACL, decorated: another's caller, not listed", plain(jwtLocalACL), foreign, nowhere, nil},

		{"JWT joined with an ACL: wired in and listed", joined, then(as("s"), listedFor(here)), byRole, nil},
		{"JWT joined with an ACL: wired in and not listed", joined, as("s"), nowhere, nil},
		{"JWT joined with an ACL: listed for more than the token says", joined, then(holder(here), listed(RoleAdmin, "s")), byRole, ErrGrant},
		{"JWT joined with an ACL: a token for here, not listed", joined, holder(here), nowhere, nil},
		{"JWT joined with an ACL: a token for elsewhere, listed", joined, then(holder(elsewhere), listed(RoleAdmin, "s")), nowhere, ErrGrant},
		{"JWT joined with an ACL: a revoked token, listed", joined, then(tokenRevoked, listed(RoleAdmin, "s")), nowhere, ErrRevoked},
		{"JWT joined with an ACL: a token that is over, listed", joined, then(holder(here), all(listed(RoleAdmin, "s"), hourPasses)), nowhere, ErrExpired},

		{"any security: it says yes to a grant for elsewhere", func(*testing.T, *world) ChannelSecurity { return yes{} }, grant(elsewhere), nowhere, ErrGrant},
		{"any security: it says yes to a grant for here", func(*testing.T, *world) ChannelSecurity { return yes{} }, grant(here), byRole, ErrGrant},
		{"any security: it says yes to a revoked token", func(*testing.T, *world) ChannelSecurity { return yes{} }, tokenRevoked, nowhere, ErrRevoked},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for rank, role := range ranks {
					w := &world{acl: aclWith(t), jwt: jwtWith(t, hs256(t, "k")), other: jwtWith(t, hs256(t, "k")), role: role}
					ch, err := NewPassthrough[int](here, WithSecurity(row.security(t, w)))
					require.NoError(t, err)
					require.NoError(t, ch.Start(t.Context()))
					var port PassthroughPort[int]
					bounded := false
					switch who := row.who(t, w).(type) {
					case string:
						port = ch.As(who)
					case Caller:
						port = ch.For(who)
						p, _ := who.Principal()
						bounded = p.Grant != nil || p.credential != nil
					case nil:
						port = ch.For(nil)
					}
					for _, op := range everyOperation() {
						within := slices.Index(ranks[:], op.Role()) <= rank
						err := operate(t.Context(), port, op)
						if row.want == anywhere || row.want == byRole && within {
							require.NoError(t, err, "%s for %s", role, op)
							continue
						}
						kinds := []error{row.because}
						if bounded && !within {
							kinds = append(kinds, ErrGrant)
						}
						requireDenial(t, err, kinds, "%s for %s", role, op)
						var denial *PermissionError
						require.ErrorAs(t, err, &denial)
						require.Equal(t, op, denial.Operation)
						require.Equal(t, here, denial.ChannelID)
						require.NotEmpty(t, denial.Reason)
					}
					require.NoError(t, ch.Close())
				}
			})
		})
	}
}

// TestRevokedComesFirst: whoever was revoked is told so whatever they try, since no other token of that subject will help.
func TestRevokedComesFirst(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	ch, err := NewPassthrough[int]("here", WithSecurity(j))
	require.NoError(t, err)
	defer ch.Close()
	p := authenticated(t, j, mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"elsewhere"}}))
	require.NoError(t, j.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt))
	_, err = ch.For(StaticCaller(p)).Read(t.Context(), 1)
	requireDenial(t, err, []error{ErrRevoked})
}

// TestWhatSecuritiesDecide asks the securities themselves, as a guard would, and by name, as one would that does not know
// Decide. What a credential bounds is not theirs to say: see TestDecisionTable.
func TestWhatSecuritiesDecide(t *testing.T) {
	t.Parallel()
	acl := aclWith(t, ACLWrite("s"))
	j, strict := jwtWith(t, hs256(t, "")), jwtWith(t, hs256(t, ""), JWTStrictLocal())
	mixed := jwtWith(t, hs256(t, ""), JWTLocal(acl))
	revoked := jwtWith(t, hs256(t, ""))
	holder := func(j *JWTSecurity) Principal {
		return authenticated(t, j, mint(t, j, TokenRequest{SystemID: "t", Role: RoleRead, Channels: []string{"elsewhere"}}))
	}
	ofRevoked := holder(revoked)
	require.NoError(t, revoked.RevokeToken(ofRevoked.Grant.TokenID, time.Time{}))
	renamed := holder(j)
	renamed.SystemID = "s"

	nothing, toWrite, all := []bool{false, false, false}, []bool{true, true, false}, []bool{true, true, true}
	for _, row := range []struct {
		name   string
		z      Authorizer
		p      Principal
		want   []bool // may read, write, administer, by Decide
		byName []bool // the same by AuthorizeRead, AuthorizeWrite and AuthorizeAdmin
	}{
		{"Open, anybody", OpenSecurity{}, Principal{SystemID: "x"}, all, all},
		{"Open, nobody", OpenSecurity{}, Principal{}, all, all},
		{"ACL, listed", acl, Principal{SystemID: "s"}, toWrite, toWrite},
		{"ACL, not listed", acl, Principal{SystemID: "x"}, nothing, nothing},
		{"ACL, nobody", acl, Principal{}, nothing, nothing},
		{"JWT, the holder of its token", j, holder(j), all, all},
		{"JWT, the holder of another's token", j, holder(mixed), nothing, all},
		{"JWT, a holder under another name", j, renamed, nothing, all},
		{"JWT, the holder of a revoked token", revoked, ofRevoked, nothing, all},
		{"JWT, somebody else's caller", j, Principal{SystemID: "x", Proof: "tls"}, nothing, all},
		{"JWT, nobody", j, Principal{}, nothing, all},
		{"JWT, strict, the holder of its token", strict, holder(strict), all, nothing},
		{"JWT, strict, somebody else's caller", strict, Principal{SystemID: "x"}, nothing, nothing},
		{"JWT with an ACL, the holder of its token", mixed, holder(mixed), all, nothing},
		{"JWT with an ACL, listed", mixed, Principal{SystemID: "s"}, toWrite, toWrite},
		{"JWT with an ACL, not listed", mixed, Principal{SystemID: "x"}, nothing, nothing},
	} {
		for _, op := range append(everyOperation(), "", "destroy", "READ", OpAuthenticate) {
			class := slices.Index(ranks[:], op.Role())
			d, err := row.z.(Decider).Decide(t.Context(), Request{Principal: row.p, ChannelID: "c", Operation: op})
			require.NoError(t, err)
			require.Equal(t, class >= 0 && row.want[class], d.Allowed, "%s: %q", row.name, op)
			require.NotEmpty(t, d.Reason, row.name)
		}
		rights := rightsOf(t, row.z, row.p.SystemID, "c")
		require.Equal(t, row.byName, rights[:], row.name)
	}
}

// TestDecideSaysAtWhichVersion: it is what the guard records, and not older than the answer.
func TestDecideSaysAtWhichVersion(t *testing.T) {
	t.Parallel()
	acl, j := aclWith(t), jwtWith(t, hs256(t, ""))
	for range 3 {
		require.NoError(t, acl.Grant("s", RoleRead))
		require.NoError(t, j.RevokeSubject("s", time.Now()))
		for _, z := range []Decider{acl, j} {
			d, err := z.Decide(t.Context(), Request{Principal: Principal{SystemID: "s"}, Operation: OpRead})
			require.NoError(t, err)
			require.Equal(t, z.(Versioned).Version(), d.Version)
			require.NotZero(t, d.Version)
		}
	}
}

// TestZeroValuesAllowNothing goes through every exported type of the files that decide.
func TestZeroValuesAllowNothing(t *testing.T) {
	t.Parallel()
	acl, j := aclWith(t), jwtWith(t, hs256(t, ""))
	require.False(t, Decision{}.Allowed)
	require.Equal(t, Denied, Outcome(0))
	require.Equal(t, ProofNone, Principal{}.Proof)
	require.ErrorIs(t, (&Grant{Role: RoleAdmin, AllChannels: true}).Covers("c", OpRead, time.Time{}), ErrExpired, "even before all time")
	for _, z := range []Decider{OpenSecurity{}, acl, j} {
		z.(ContentBlind).ContentBlind()
		d, err := z.Decide(t.Context(), Request{})
		require.NoError(t, err)
		require.False(t, d.Allowed, "%T", z)
	}
	for _, i := range []TokenIssuer{acl, j} {
		_, err := i.GenerateToken(t.Context(), TokenRequest{})
		require.ErrorIs(t, err, ErrInvalid)
	}
	require.ErrorIs(t, acl.Add(ACLEntry{}), ErrInvalid)
	_, err := NewJWTSecurity(Key{})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorIs(t, j.AddKey(Key{}), ErrInvalid)
	require.ErrorIs(t, j.Rotate(Key{}), ErrInvalid)
	require.Empty(t, Key{}.ID())
	require.Empty(t, Key{}.Algorithm())
}

// TestSecuritiesThatNoConstructorMade refuse; they do not panic, and they do not let in.
func TestSecuritiesThatNoConstructorMade(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		s    ChannelSecurity
	}{
		{"a zero ACLSecurity", &ACLSecurity{}},
		{"a zero JWTSecurity", &JWTSecurity{}},
		{"a nil ACLSecurity", (*ACLSecurity)(nil)},
		{"a nil JWTSecurity", (*JWTSecurity)(nil)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := row.s
			ch, err := NewPassthrough[int]("c", WithSecurity(s), WithLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				require.ErrorIs(t, err, ErrInvalid)
				return
			}
			defer ch.Close()
			require.NoError(t, ch.Start(t.Context()))
			for _, op := range everyOperation() {
				require.NotPanics(t, func() {
					require.Error(t, operate(t.Context(), ch.As("s"), op), op)
					require.Error(t, operate(t.Context(), ch.For(StaticCaller(Principal{SystemID: "s"})), op), op)
				})
			}
			_, err = ch.Authenticate(t.Context(), "")
			require.Error(t, err)
		})
	}
}

// undecided is a security that cannot say, and yet says yes beside the error.
type undecided struct{ err error }

func (u undecided) Authenticate(context.Context, string) (Principal, error) {
	return Principal{SystemID: "s"}, u.err
}
func (u undecided) AuthorizeRead(context.Context, string, string) (bool, error)  { return true, u.err }
func (u undecided) AuthorizeWrite(context.Context, string, string) (bool, error) { return true, u.err }
func (u undecided) AuthorizeAdmin(context.Context, string, string) (bool, error) { return true, u.err }
func (u undecided) GenerateToken(context.Context, TokenRequest) (string, error)  { return "s", u.err }
func (u undecided) Decide(context.Context, Request) (Decision, error) {
	return Decision{Allowed: true}, u.err
}
