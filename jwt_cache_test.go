package chansec

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// remembered returns how many tokens a cache holds.
func remembered(j *JWTSecurity) (n int) {
	for i := range j.cache.sets {
		for k := range j.cache.sets[i] {
			if j.cache.sets[i][k].Load() != nil {
				n++
			}
		}
	}
	return n
}

// TestJWTCacheIsBounded: however many tokens come by, and all of them are answered.
func TestJWTCacheIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 8, 9, 256} {
		j := jwtWith(t, hs256(t, ""), stopped(theTime), JWTCache(size))
		for i := range 4 * size {
			require.Equal(t, accepted, answerTo(t, j, forge(plainHeader, claimsWith("jti", fmt.Sprintf(`"%d"`, i)))))
		}
		require.LessOrEqual(t, remembered(j), max(2*size, cacheWays), "rounded up to whole sets, and those to a power of two")
		require.GreaterOrEqual(t, remembered(j), size/2)
	}
	require.Nil(t, jwtWith(t, hs256(t, ""), JWTCache(0)).cache)
}

// TestJWTCacheRemembersValidTokensOnly: what was refused takes no place.
func TestJWTCacheRemembersValidTokensOnly(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	require.NoError(t, j.RevokeToken("revoked", time.Time{}))
	for _, token := range []string{
		"", "garbage", forge(plainHeader, claimsWith("exp", "1")), forge(plainHeader, claimsWith("role", "7")),
		forge(plainHeader, claimsWith("jti", `"revoked"`)), forge(`{"alg":"none"}`, claimsWith()),
	} {
		require.NotEqual(t, accepted, answerTo(t, j, token))
	}
	require.Zero(t, remembered(j))
	require.Equal(t, accepted, answerTo(t, j, forge(plainHeader, claimsWith())))
	require.Equal(t, 1, remembered(j))
}

// TestJWTCacheGivesUpWhatHasExpiredFirst: a full set keeps what is still good.
func TestJWTCacheGivesUpWhatHasExpiredFirst(t *testing.T) {
	t.Parallel()
	now := theTime
	j := jwtWith(t, hs256(t, ""), JWTClock(func() time.Time { return now }), JWTCache(cacheWays))
	batch := func(name, exp string) (tokens []string) {
		for i := range cacheWays {
			tokens = append(tokens, forge(plainHeader, claimsWith("jti", fmt.Sprintf(`"%s %d"`, name, i), "exp", exp)))
			require.Equal(t, accepted, answerTo(t, j, tokens[i]))
		}
		return tokens
	}
	batch("short", "1800000060")
	now = now.Add(time.Minute)
	for _, token := range batch("long", "1800003600") {
		sum := j.cache.sum(token)
		require.NotNil(t, j.cache.get(&sum))
	}
	require.Equal(t, cacheWays, remembered(j))
}

// TestJWTCacheKeepsNoTokens: neither the text of one, nor one of them twice.
func TestJWTCacheKeepsNoTokens(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, "k"), JWTKeys(hs256(t, "other")), stopped(theTime))
	token := forge(`{"alg":"HS256","kid":"other"}`, claimsWith())
	require.Equal(t, accepted, answerTo(t, j, token))
	buffer := *j.cache.buffers.Get().(*[]byte)
	require.NotContains(t, string(buffer[:cap(buffer)]), token[len(token)-20:])

	require.NoError(t, j.RemoveKey("other"))
	require.NoError(t, j.AddKey(hs256(t, "other")))
	require.Equal(t, accepted, answerTo(t, j, token), "as under the key that was removed")
	require.Equal(t, 1, remembered(j))
}

// TestJWTCacheNeverAnswersForWhatIsOver: each way a token that was remembered ends.
func TestJWTCacheNeverAnswersForWhatIsOver(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		claims []string
		ends   func(*testing.T, *JWTSecurity, *time.Time)
		want   answer // "" is any but accepted
	}{
		{"it expired", nil, func(_ *testing.T, _ *JWTSecurity, now *time.Time) { *now = theTime.Add(time.Hour) }, tooLate},
		{"it expired by a fraction", []string{"exp", "1800000000.5"}, func(_ *testing.T, _ *JWTSecurity, now *time.Time) { *now = theTime.Add(time.Second / 2) }, tooLate},
		{"it was revoked", []string{"jti", `"7"`}, func(t *testing.T, j *JWTSecurity, _ *time.Time) {
			require.NoError(t, j.RevokeToken("7", theTime.Add(time.Hour)))
		}, cutOff},
		{"its subject was", []string{"iat", "1800000000"}, func(t *testing.T, j *JWTSecurity, _ *time.Time) {
			require.NoError(t, j.RevokeSubject("s", theTime))
		}, cutOff},
		{"its subject was, and it does not say since when it is", nil, func(t *testing.T, j *JWTSecurity, _ *time.Time) {
			require.NoError(t, j.RevokeSubject("s", time.Unix(1, 0)))
		}, cutOff},
		{"its key was removed", nil, func(t *testing.T, j *JWTSecurity, _ *time.Time) {
			require.NoError(t, j.Rotate(must(HMACKey("new", "HS256", []byte(strings.Repeat("another secret ", 5))))))
			require.NoError(t, j.RemoveKey("k"))
		}, ""},
		{"the clock went back before it was good", []string{"nbf", "1800000000"}, func(_ *testing.T, _ *JWTSecurity, now *time.Time) { *now = theTime.Add(-1) }, refused},
		{"the clock went back before it was issued", []string{"iat", "1800000000"}, func(_ *testing.T, _ *JWTSecurity, now *time.Time) { *now = theTime.Add(-1) }, refused},
		{"the clock went back, and it has too long to go", []string{"exp", "1800086400"}, func(_ *testing.T, _ *JWTSecurity, now *time.Time) { *now = theTime.Add(-1) }, refused},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			now := theTime
			j := jwtWith(t, hs256(t, "k"), JWTClock(func() time.Time { return now }))
			token := forge(plainHeader, claimsWith(row.claims...))
			require.Equal(t, accepted, answerTo(t, j, token))
			require.Equal(t, 1, remembered(j))
			row.ends(t, j, &now)
			got := answerTo(t, j, token)
			require.NotEqual(t, accepted, got)
			if row.want != "" {
				require.Equal(t, row.want, got)
			}
			_, err := j.AuthorizeToken(t.Context(), token, "c", OpRead)
			require.ErrorIs(t, err, ErrUnauthenticated)
		})
	}
}

// TestJWTCacheHasOneSpelling: only the text itself is answered from memory, not what others may read as the same.
func TestJWTCacheHasOneSpelling(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	token := forge(plainHeader, claimsWith())
	require.Equal(t, accepted, answerTo(t, j, token))
	for name, other := range spellings(token) {
		require.Equal(t, refused, answerTo(t, j, other), name)
	}
	require.Equal(t, accepted, answerTo(t, j, token))
	require.Equal(t, 1, remembered(j))
}

// spellings returns texts that lenient decoders read as the token.
func spellings(token string) map[string]string {
	parts := strings.Split(token, ".")
	last := token[len(token)-1]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	at := strings.IndexByte(alphabet, last)
	all := map[string]string{
		"a space before":       " " + token,
		"a space after":        token + " ",
		"a line feed after":    token + "\n",
		"CR and LF after":      token + "\r\n",
		"a NUL after":          token + "\x00",
		"a byte order mark":    "\ufeff" + token,
		"a scheme":             "Bearer " + token,
		"quotes":               `"` + token + `"`,
		"a dot after":          token + ".",
		"a dot before":         "." + token,
		"a fourth part":        token + ".x",
		"padding":              token + "=",
		"percent encoding":     strings.Replace(token, ".", "%2e", 1),
		"a full-width dot":     strings.Replace(token, ".", "\uff0e", 1),
		"standard base64":      strings.NewReplacer("-", "+", "_", "/").Replace(token) + "+",
		"unused bits that are": token[:len(token)-1] + string(alphabet[at^1]),
	}
	for i, part := range parts {
		for name, c := range map[string]string{"LF": "\n", "CR": "\r", "a space": " ", "a tab": "\t", "padding": "="} {
			changed := append([]string(nil), parts...)
			changed[i] = part[:2] + c + part[2:]
			all[fmt.Sprintf("%s within part %d", name, i)] = strings.Join(changed, ".")
			changed[i] = part + c
			all[fmt.Sprintf("%s after part %d", name, i)] = strings.Join(changed, ".")
		}
	}
	return all
}

// TestJWTCacheChangesNoAnswer does random things to a security with a small cache and to one without, and compares what
// they say to every token.
func TestJWTCacheChangesNoAnswer(t *testing.T) {
	t.Parallel()
	t.Run("with the same keys", func(t *testing.T) {
		t.Parallel()
		compareCached(t, false)
	})
	t.Run("with keys that are read anew", func(t *testing.T) {
		t.Parallel()
		compareCached(t, true)
	})
}

func compareCached(t *testing.T, readAnew bool) {
	secrets := map[string][]byte{"a": tokenSecret, "b": []byte(strings.Repeat("another secret ", 5)), "c": []byte(strings.Repeat("a third secret ", 5))}
	keys := map[string]Key{}
	key := func(id string) Key {
		if _, known := keys[id]; !known || readAnew {
			keys[id] = must(HMACKey(id, "HS256", secrets[id]))
		}
		return keys[id]
	}
	now := theTime
	clock := JWTClock(func() time.Time { return now })
	cached := jwtWith(t, key("a"), clock, JWTCache(16), JWTLeeway(time.Second))
	plain := jwtWith(t, keys["a"], clock, JWTCache(0), JWTLeeway(time.Second))
	var tokens []string
	random := rand.New(rand.NewPCG(1, 1))
	both := func(do func(j *JWTSecurity) error) {
		one, other := do(cached), do(plain)
		require.Equal(t, one == nil, other == nil)
	}
	for op := range fewer(20_000) {
		switch id := string("abc"[random.IntN(3)]); random.IntN(12) {
		case 0, 1, 2:
			text := mint(t, cached, TokenRequest{SystemID: fmt.Sprint("s", random.IntN(3)), Role: RoleRead, AllChannels: true, ExpiresIn: time.Duration(1+random.IntN(100)) * time.Second})
			if tokens = append(tokens, text); len(tokens) > 50 {
				tokens = tokens[1:]
			}
		case 3:
			k := key(id)
			both(func(j *JWTSecurity) error { return j.Rotate(k) })
		case 4:
			k := key(id)
			both(func(j *JWTSecurity) error { return j.AddKey(k) })
		case 5:
			both(func(j *JWTSecurity) error { return j.RemoveKey(id) })
		case 6:
			if len(tokens) > 0 {
				p, err := plain.Authenticate(t.Context(), tokens[random.IntN(len(tokens))])
				if err == nil {
					both(func(j *JWTSecurity) error { return j.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt) })
				}
			}
		case 7:
			if random.IntN(20) == 0 {
				subject := fmt.Sprint("s", random.IntN(3))
				both(func(j *JWTSecurity) error { return j.RevokeSubject(subject, now) })
			}
		case 8, 9:
			now = now.Add(time.Duration(random.IntN(5000)) * time.Millisecond)
		case 10:
			now = now.Add(-time.Duration(random.IntN(2000)) * time.Millisecond)
		}
		for range 4 {
			if len(tokens) == 0 {
				break
			}
			token := tokens[random.IntN(len(tokens))]
			one, err1 := cached.Authenticate(t.Context(), token)
			other, err2 := plain.Authenticate(t.Context(), token)
			require.Equal(t, err2 == nil, err1 == nil, "operation %d: %v and %v", op, err1, err2)
			if err1 == nil {
				require.Equal(t, other.SystemID, one.SystemID)
				require.Equal(t, *other.Grant, *one.Grant)
			}
		}
	}
}

// TestChangingAPrincipalWidensNothing: whoever gets hold of what Authenticate returned can change what is exported of it, and
// shares that with all who present the same token. What the guard enforces is out of reach.
func TestChangingAPrincipalWidensNothing(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	for _, channels := range [][]string{{"here"}, {"1", "2", "3", "4", "5", "6", "7", "8", "here"}} {
		token := mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, Channels: channels, ExpiresIn: time.Hour})
		hostile := authenticated(t, j, token)
		for i := range hostile.Grant.Channels {
			hostile.Grant.Channels[i] = "there"
		}
		hostile.Grant.Role, hostile.Grant.AllChannels = "ADMIN", true
		hostile.Grant.ExpiresAt = time.Now().Add(1000 * time.Hour)
		hostile.Grant.TokenID = "another"
		hostile.Roles = append(hostile.Roles, "root")

		for name, p := range map[string]Principal{"its holder": hostile, "the next with that token": authenticated(t, j, token)} {
			for _, s := range []ChannelSecurity{j, fiveMethods{j}, yes{}} {
				there, err := NewPassthrough[int]("there", WithSecurity(s))
				require.NoError(t, err)
				defer there.Close()
				here, err := NewPassthrough[int]("here", WithSecurity(s))
				require.NoError(t, err)
				defer here.Close()
				for _, op := range everyOperation() {
					requireDenial(t, operate(t.Context(), there.For(StaticCaller(p)), op), []error{ErrGrant}, "%s: %s", name, op)
					if op.Role() != RoleRead {
						requireDenial(t, operate(t.Context(), here.For(StaticCaller(p)), op), []error{ErrGrant}, "%s: %s", name, op)
					}
				}
			}
		}
		_, err := j.AuthorizeToken(t.Context(), token, "there", OpRead)
		requireDenial(t, err, []error{ErrGrant})
		_, err = j.AuthorizeToken(t.Context(), token, "here", OpClear)
		requireDenial(t, err, []error{ErrGrant})
		_, err = j.AuthorizeToken(t.Context(), token, "here", OpRead)
		require.NoError(t, err)
	}
}

// TestJWTCutsAtOnce: whoever asks after a revocation, or the removal of a key, returned, is refused, however many ask at
// the same time and whatever is remembered.
func TestJWTCutsAtOnce(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*JWTSecurity, Principal) error{
		"a token":   func(j *JWTSecurity, p Principal) error { return j.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt) },
		"a subject": func(j *JWTSecurity, p Principal) error { return j.RevokeSubject(p.SystemID, time.Now()) },
		"a key": func(j *JWTSecurity, _ Principal) error {
			next, err := HMACKey(fmt.Sprint(rand.Uint64()), "HS256", tokenSecret)
			if err != nil {
				return err
			}
			old := j.keys.Load().signer.ID()
			return errors.Join(j.Rotate(next), j.RemoveKey(old))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			for round := range fewer(300) {
				j := jwtWith(t, hs256(t, "first"), JWTCache(8*(round%2)))
				token := mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})
				p := authenticated(t, j, token)
				var done, late atomic.Bool
				stop := inBackground(3, func() {
					after := done.Load()
					_, err := j.Authenticate(ctx, token)
					if after && err == nil {
						late.Store(true)
					}
				})
				require.NoError(t, cut(j, p))
				done.Store(true)
				_, err := j.Authenticate(ctx, token)
				require.ErrorIs(t, err, ErrUnauthenticated)
				stop()
				require.False(t, late.Load())
			}
		})
	}
}

// TestJWTIsUsedByManyAtOnce: everything, together, for the race detector.
func TestJWTIsUsedByManyAtOnce(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, "first"), JWTCache(8), JWTMaxRevocations(100))
	ctx := t.Context()
	good := mint(t, j, TokenRequest{SystemID: "resident", Role: RoleRead, AllChannels: true})
	var n atomic.Uint64
	var failed atomic.Bool
	stop := inBackground(4, func() {
		i := n.Add(1)
		text, err := j.GenerateToken(ctx, TokenRequest{SystemID: fmt.Sprint("s", i%50), Role: RoleRead, AllChannels: true, ExpiresIn: time.Second})
		if err != nil {
			failed.Store(true)
			return
		}
		p, err := j.Authenticate(ctx, text)
		if err == nil {
			_, _ = j.Decide(ctx, Request{Principal: p, ChannelID: "c", Operation: OpRead})
			_ = j.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt)
		}
		if _, err := j.AuthorizeToken(ctx, good, "c", OpRead); err != nil {
			failed.Store(true)
		}
		if i%7 == 0 {
			_ = j.RevokeSubject(fmt.Sprint("s", i%50), time.Now())
		}
	})
	for range fewer(2000) {
		before := j.Changed()
		next, err := HMACKey("next", "HS256", tokenSecret)
		require.NoError(t, err)
		require.NoError(t, j.AddKey(next))
		<-before
		require.NoError(t, j.RemoveKey("next"))
	}
	stop()
	require.False(t, failed.Load())
}

// TestJWTAnswersFromMemoryWithoutAllocating: which is what the cache is for.
func TestJWTAnswersFromMemoryWithoutAllocating(t *testing.T) {
	if underRace() {
		t.Skip("the race detector allocates")
	}
	j := jwtWith(t, hs256(t, ""))
	token := mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"c"}})
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, err := j.Authenticate(ctx, token); err != nil {
			panic(err)
		}
	}))
}
