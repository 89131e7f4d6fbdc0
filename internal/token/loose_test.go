package token

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLooseSubject(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	loose, strict := testProfile(), testProfile()
	strict.AllowNoSubject = true
	loose.AllowNoSubject, loose.LooseSubject = true, true
	for _, tt := range []struct {
		claims       string
		want         string
		loose        error
		whatStrictIs error
	}{
		{`{"exp":1800000060}`, "", nil, nil},
		{`{"exp":1800000060,"sub":"a"}`, "a", nil, nil},
		{`{"exp":1800000060,"sub":""}`, "", nil, BadClaims},
		{`{"exp":1800000060,"sub":7}`, "", nil, BadClaims},
		{`{"exp":1800000060,"sub":null}`, "", nil, BadClaims},
		{`{"exp":1800000060,"sub":["a"]}`, "", nil, BadClaims},
		{`{"exp":1800000060,"sub":"a\n"}`, "", nil, BadClaims},
		{`{"exp":1800000060,"SUB":"a"}`, "", BadClaims, BadClaims},
		{`{"exp":1800000060,"sub":"a","sub":"b"}`, "", BadClaims, BadClaims},
		{`{"sub":"a"}`, "", BadClaims, BadClaims},
	} {
		text := signRaw(t, key, goodHeader, tt.claims)
		_, err := newTestDoor(t, strict).Verify(keys, text)
		require.Equal(t, tt.whatStrictIs, err, tt.claims)
		token, err := newTestDoor(t, loose).Verify(keys, text)
		require.Equal(t, tt.loose, err, tt.claims)
		if tt.loose == nil {
			require.Equal(t, tt.want, token.Subject, tt.claims)
		}
	}
	_, err := NewDoor(Profile{LooseSubject: true})
	require.Equal(t, &ProfileError{"LooseSubject"}, err)
}

func TestIgnoreKeyID(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	ignoring := testProfile()
	ignoring.IgnoreKeyID = true
	for _, tt := range []struct {
		header   string
		ignoring error
		heeding  error
	}{
		{`{"alg":"HS256","kid":"k1"}`, nil, UnknownKey},
		{`{"alg":"HS256","kid":""}`, nil, UnknownKey},
		{`{"alg":"HS256","kid":7}`, nil, BadHeader},
		{`{"alg":"HS256","KID":"k1"}`, BadHeader, BadHeader},
		{`{"alg":"HS256","kid":"k1","kid":"k1"}`, BadHeader, BadHeader},
		{`{"alg":"HS384","kid":"k1"}`, WrongAlg, UnknownKey},
		{`{"alg":"none","kid":"k1"}`, WrongAlg, UnknownKey},
	} {
		text := signRaw(t, key, tt.header, goodClaims)
		_, err := newTestDoor(t, ignoring).Verify(keys, text)
		require.Equal(t, tt.ignoring, err, tt.header)
		_, err = newTestDoor(t, testProfile()).Verify(keys, text)
		require.Equal(t, tt.heeding, err, tt.header)
	}
}
