package chansec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// everySentinel is what errors.Is may be asked for.
var everySentinel = map[string]error{
	"ErrPermission": ErrPermission, "ErrUndecided": ErrUndecided, "ErrUnauthenticated": ErrUnauthenticated, "ErrExpired": ErrExpired,
	"ErrRevoked": ErrRevoked, "ErrGrant": ErrGrant, "ErrInvalid": ErrInvalid, "ErrNotAccepting": ErrNotAccepting, "ErrClosed": ErrClosed,
	"ErrFull": ErrFull, "ErrLimit": ErrLimit, "ErrLagged": ErrLagged, "ErrUnknownMessage": ErrUnknownMessage, "ErrClaimLost": ErrClaimLost,
	"ErrBusy": ErrBusy, "ErrSecurityFixed": ErrSecurityFixed, "ErrSecurityRequired": ErrSecurityRequired, "ErrNoSigner": ErrNoSigner,
	"ErrAudit": ErrAudit, "ErrUnknownKey": ErrUnknownKey, "ErrChanged": ErrChanged, "ErrUnsupported": ErrUnsupported, "ErrNotKept": ErrNotKept,
}

// TestErrorsAreWhatTheySay: of every error, all that it is, and nothing else.
func TestErrorsAreWhatTheySay(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	require.NoError(t, j.RevokeToken("7", time.Time{}))
	refusal := func(token string) error { _, err := j.Authenticate(t.Context(), token); return err }
	for _, row := range []struct {
		name string
		err  error
		is   string
	}{
		{"an invalid argument", invalid("role", "x", "y"), "ErrInvalid"},
		{"a denial", &PermissionError{}, "ErrPermission"},
		{"a denial because of time", &PermissionError{Cause: ErrExpired}, "ErrPermission ErrExpired"},
		{"a denial because of a revocation", &PermissionError{Cause: ErrRevoked}, "ErrPermission ErrRevoked"},
		{"a denial because of the grant", &PermissionError{Cause: ErrGrant}, "ErrPermission ErrGrant"},
		{"a failure to decide", &UndecidedError{Cause: io.EOF}, "ErrUndecided"},
		{"an audit sink that failed", fmt.Errorf("%w: %w", ErrAudit, io.EOF), "ErrUndecided ErrAudit"},
		{"the end of a lease that was denied", &RevokedError{Cause: &PermissionError{}}, "ErrRevoked ErrPermission"},
		{"the end of a lease that expired", &RevokedError{Cause: &PermissionError{Cause: ErrExpired}}, "ErrRevoked ErrPermission ErrExpired"},
		{"the end of a lease that nobody could decide on", &RevokedError{Cause: &UndecidedError{Cause: io.EOF}}, "ErrRevoked ErrUndecided"},
		{"a token that may have been revoked", &StaleError{Err: ErrRevoked}, "ErrUndecided"},
		{"missed messages", &LaggedError{Missed: 3}, "ErrLagged"},
		{"a refused token", refusal("x"), "ErrUnauthenticated"},
		{"an expired token", refusal(forge(plainHeader, claimsWith("exp", "1"))), "ErrUnauthenticated ErrExpired"},
		{"a revoked token", refusal(forge(plainHeader, claimsWith("jti", `"7"`))), "ErrUnauthenticated ErrRevoked"},
		{"an expired token with a wrong signature", refusal(forge(plainHeader, claimsWith("exp", "1"))[:80] + "x"), "ErrUnauthenticated"},
	} {
		for name, sentinel := range everySentinel {
			is := strings.Contains(" "+row.is+" ", " "+name+" ")
			require.Equal(t, is, errors.Is(row.err, sentinel), "%s is %s", row.name, name)
		}
		require.NotErrorIs(t, row.err, nil)
	}
	for name, sentinel := range everySentinel {
		require.True(t, strings.HasPrefix(sentinel.Error(), "chansec: "), name)
	}
}

// TestErrorsCarryDetails, with errors.As.
func TestErrorsCarryDetails(t *testing.T) {
	t.Parallel()
	cause := &PermissionError{SystemID: "s", ChannelID: "c", Operation: OpRead, Reason: "not listed", Cause: io.EOF}
	var denial *PermissionError
	require.ErrorAs(t, &RevokedError{Cause: cause}, &denial)
	require.Equal(t, cause, denial)
	require.ErrorIs(t, cause, io.EOF)
	require.ErrorIs(t, &UndecidedError{Cause: io.EOF}, io.EOF)

	for want, err := range map[string]error{
		`chansec: permission denied: "s" may not read on "c": not listed`:                   cause,
		`chansec: revoked: chansec: permission denied: "s" may not read on "c": not listed`: &RevokedError{Cause: cause},
		`chansec: undecided: write on "c": EOF`:                                             &UndecidedError{ChannelID: "c", Operation: OpWrite, Cause: io.EOF},
		`chansec: invalid role "x": want y`:                                                 invalid("role", "x", "y"),
		`chansec: invalid option: want an Option`:                                           &InvalidError{What: "option", Want: "an Option"},
		`chansec: 3 messages were discarded before they were read`:                          &LaggedError{Missed: 3},
	} {
		require.EqualError(t, err, want)
	}
}

// TestZeroErrorsCanBePrinted: nobody should make one, but a logger must survive it.
func TestZeroErrorsCanBePrinted(t *testing.T) {
	t.Parallel()
	for _, err := range []error{&InvalidError{}, &PermissionError{}, &UndecidedError{}, &RevokedError{}, &LaggedError{}} {
		require.NotEmpty(t, err.Error())
	}
}

// TestErrorsShortenNames: up to 64 bytes are there as they are.
func TestErrorsShortenNames(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("x", 64)
	_, err := ParseRole(name)
	require.ErrorContains(t, err, `"`+name+`":`)
	_, err = ParseRole(name + "y")
	require.ErrorContains(t, err, `"`+name+`"... (65 bytes):`)
}

// hostileTexts are what somebody may call themselves to fill, forge or break a log.
var hostileTexts = map[string]string{
	"a megabyte":                   strings.Repeat("x", 1<<20),
	"a megabyte that is not UTF-8": strings.Repeat("\xff", 1<<20),
	"a megabyte of quotes":         strings.Repeat(`"`, 1<<20),
	"a megabyte of NUL":            strings.Repeat("\x00", 1<<20),
	"a megabyte of soft hyphens":   strings.Repeat("\u00ad", 1<<19),
	"512 bytes of soft hyphens":    strings.Repeat("\u00ad", 256),
	"64 bytes that are not UTF-8":  strings.Repeat("\xff", 64),
	"a line":                       "x\n2026-01-01 INFO chansec: permission granted to root",
	"a colour":                     "\x1b[31mred\x1b[0m",
	"a line separator":             "x\u2028y",
	"an order of letters":          "x\u202egnp.exe",
}

// TestErrorsAreOneShortLine: at most 512 bytes, printable, whatever somebody calls themselves.
func TestErrorsAreOneShortLine(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, name string, err error) {
		t.Helper()
		require.Error(t, err, name)
		text := err.Error()
		require.LessOrEqual(t, len(text), 512, "%s: %.100q...", name, text)
		for _, c := range text {
			require.True(t, c >= ' ' && c != 0x7f && c != '\u2028' && c != '\u202e', "%s: %.100q...", name, text)
		}
	}
	acl := aclWith(t)
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	for name, text := range hostileTexts {
		check(t, name, CheckChannelID(text+"\n"))
		_, err := ParseRole(text)
		check(t, name, err)
		_, err = ParseOperation(text)
		check(t, name, err)
		check(t, name, acl.Grant("s\n"+text, RoleRead))
		check(t, name, acl.Grant("s", Role(text)))
		check(t, name, acl.GrantOn("s", RoleRead, text+"\n"))
		_, err = j.GenerateToken(t.Context(), TokenRequest{SystemID: "\n" + text, Role: RoleRead})
		check(t, name, err)
		_, err = j.GenerateToken(t.Context(), TokenRequest{SystemID: "s", Role: Role(text)})
		check(t, name, err)
		_, err = j.Authenticate(t.Context(), text)
		check(t, name, err)
		check(t, name, j.RevokeToken("\n"+text, time.Time{}))
		check(t, name, j.RevokeSubject("\n"+text, theTime))
		check(t, name, j.RemoveKey(text))
		_, err = j.AuthorizeToken(t.Context(), forge(plainHeader, claimsWith()), text, OpRead)
		check(t, name, err)
	}
}

// TestDenialsAreOneShortLine: also where two names and an operation come together.
func TestDenialsAreOneShortLine(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	for name, text := range hostileTexts {
		_, err := j.AuthorizeToken(t.Context(), forge(plainHeader, claimsWith()), "d", Operation(text))
		require.LessOrEqual(t, len(err.Error()), 512, name)
		require.NotContains(t, err.Error(), "\n", name)
		err = &PermissionError{SystemID: text, ChannelID: text, Operation: OpAcknowledge, Reason: "the credential does not reach that far"}
		require.LessOrEqual(t, len(err.Error()), 512, name)
		_, err = HMACKey(text, text, tokenSecret)
		require.LessOrEqual(t, len(err.Error()), 512, name)
	}
}

// TestNothingPrintsSecrets: a secret and a token, through everything exported that holds, made or refused them, with every
// way to print.
func TestNothingPrintsSecrets(t *testing.T) {
	t.Parallel()
	secret := []byte("canary-in-the-secret-0123456789-0123456789-0123456789-0123456789")
	key, err := HMACKey("k", "HS256", secret)
	require.NoError(t, err)
	public, _, _ := keyPair(t, "p", "ES256")
	acl := aclWith(t)
	j := jwtWith(t, key, JWTLocal(acl))
	token := mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"c"}})
	signature := token[strings.LastIndexByte(token, '.')+1:]
	p := authenticated(t, j, token)
	ch, err := NewPassthrough[int]("c", WithSecurity(j))
	require.NoError(t, err)
	defer ch.Close()
	caller, err := ch.Authenticate(t.Context(), token)
	require.NoError(t, err)

	_, short := HMACKey("k", "HS256", secret[:31])
	_, pem := HMACKey("k", "HS256", append([]byte("-----BEGIN"), secret...))
	_, wrongKey := HMACKey("k", "RS256", secret)
	_, refused := j.Authenticate(t.Context(), token+"x")
	_, denied := j.AuthorizeToken(t.Context(), token, "c", OpWrite)
	require.NoError(t, j.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt))
	_, revoked := j.Authenticate(t.Context(), token)
	_, cut := ch.For(caller).Read(t.Context(), 1)
	_, notListed := aclWith(t).Authenticate(t.Context(), token)
	_, misused := jwtWith(t, key).AuthorizeToken(t.Context(), "c", token, OpRead)

	for name, v := range map[string]any{
		"a key": key, "a pointer to a key": &key, "a public key": public, "a list of keys": []Key{key}, "a map of keys": map[string]Key{"k": key},
		"a security": j, "a struct with one": struct{ S ChannelSecurity }{j}, "a list": acl, "a joined one": joinOf(t, j, j, j),
		"a principal": p, "a pointer to one": &p, "a grant": p.Grant, "a caller": caller, "a request": Request{Principal: p},
		"an option": JWTKeys(key), "a token request": TokenRequest{SystemID: "s"}, "a port": ch.For(caller), "a channel": ch,
		"a short secret": short, "a PEM secret": pem, "a secret for RSA": wrongKey, "a refusal": refused, "a denial": denied,
		"a revocation": revoked, "a cut": cut, "a name that is not listed": notListed, "a token for a channel": misused,
	} {
		var printed []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
		if text, err := json.Marshal(v); err == nil {
			printed = append(printed, string(text))
		}
		if err, ok := v.(error); ok {
			printed = append(printed, err.Error(), fmt.Sprintf("%v", errors.Unwrap(err)))
		}
		for _, text := range printed {
			require.NotContains(t, text, "canary", name)
			require.NotContains(t, text, fmt.Sprintf("%x", "canary"), name)
			require.NotContains(t, text, fmt.Sprintf("%X", "canary"), name)
			require.NotContains(t, text, strings.Trim(fmt.Sprint([]byte("canary")), "[]"), name)
			require.NotContains(t, text, signature, name)
			require.NotContains(t, text, fmt.Sprintf("%x", signature), name)
		}
	}
}
