package token

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheClaimedIssuerIsReadAsStrictlyAsByTheDoor(t *testing.T) {
	part := func(text string) string { return encode(text) }
	head := part(`{"alg":"HS256","typ":"JWT"}`)
	for name, c := range map[string]struct {
		text, want string
		err        error
	}{
		"an issuer":                        {head + "." + part(`{"iss":"a"}`) + ".AAAA", "a", nil},
		"an issuer, whatever the type":     {part(`{"alg":"none","typ":"at+jwt"}`) + "." + part(`{"iss":"a"}`) + ".AAAA", "a", nil},
		"no issuer":                        {head + "." + part(`{"sub":"a"}`) + ".AAAA", "", WrongIssuer},
		"an issuer in other letters":       {head + "." + part(`{"ISS":"a"}`) + ".AAAA", "", WrongIssuer},
		"an issuer further in":             {head + "." + part(`{"x":{"iss":"a"}}`) + ".AAAA", "", WrongIssuer},
		"an empty issuer":                  {head + "." + part(`{"iss":""}`) + ".AAAA", "", BadClaims},
		"an issuer that is a number":       {head + "." + part(`{"iss":1}`) + ".AAAA", "", BadClaims},
		"an issuer with a line break":      {head + "." + part(`{"iss":"a\nb"}`) + ".AAAA", "", BadClaims},
		"two issuers":                      {head + "." + part(`{"iss":"a","iss":"b"}`) + ".AAAA", "", BadClaims},
		"two issuers, one of them escaped": {head + "." + part(`{"iss":"a","\u0069ss":"b"}`) + ".AAAA", "", BadClaims},
		"claims with more after them":      {head + "." + part(`{"iss":"a"}{}`) + ".AAAA", "", BadClaims},
		"claims that are a list":           {head + "." + part(`["iss","a"]`) + ".AAAA", "", BadClaims},
		"no claims":                        {head + "..AAAA", "", Malformed},
		"no signature":                     {head + "." + part(`{"iss":"a"}`) + ".", "", Malformed},
		"two parts":                        {head + "." + part(`{"iss":"a"}`), "", Malformed},
		"four parts":                       {head + "." + part(`{"iss":"a"}`) + ".AAAA.AAAA", "", Malformed},
		"a line break":                     {head + "." + part(`{"iss":"a"}`) + ".AAAA\n", "", Malformed},
		"a critical extension":             {part(`{"alg":"HS256","crit":["x"]}`) + "." + part(`{"iss":"a"}`) + ".AAAA", "", BadHeader},
		"a header of two minds":            {part(`{"alg":"HS256","alg":"none"}`) + "." + part(`{"iss":"a"}`) + ".AAAA", "", BadHeader},
		"too long":                         {head + "." + part(`{"iss":"a","x":"`+strings.Repeat("x", DefaultMaxBytes)+`"}`) + ".AAAA", "", TooLong},
		"nothing":                          {"", "", Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ClaimedIssuer(c.text, 0)
			require.Equal(t, c.want, got)
			if c.err == nil {
				require.NoError(t, err)
				return
			}
			require.Equal(t, c.err, err)
		})
	}
	_, err := ClaimedIssuer(head+"."+part(`{"iss":"a"}`)+".AAAA", 10)
	require.Equal(t, TooLong, err)
}

// What a door lets in claims the issuer that it has, so that choosing a door by the claim loses nothing.
func FuzzClaimedIssuer(f *testing.F) {
	key, err := NewHMACKey("", "HS256", []byte(strings.Repeat("k", 32)))
	if err != nil {
		f.Fatal(err)
	}
	keys, err := NewKeySet(key)
	if err != nil {
		f.Fatal(err)
	}
	door, err := NewDoor(Profile{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("issuer", "")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, issuer, more string) {
		claims := []Claim{StringClaim("sub", "a"), IntClaim("exp", time.Now().Add(time.Hour).Unix())}
		if issuer != "" {
			claims = append(claims, StringClaim("iss", issuer))
		}
		text, err := Sign(key, "", claims)
		if err != nil {
			return
		}
		text += more
		claimed, reason := ClaimedIssuer(text, 0)
		verified, err := door.Verify(keys, text)
		switch {
		case err == nil && verified.Issuer != claimed:
			t.Fatalf("claimed %q, verified %q", claimed, verified.Issuer)
		case err == nil && issuer != "" && reason != nil:
			t.Fatal(reason)
		}
	})
}
