package token

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mutations returns how many mutated tokens to try: TOKEN_MUTATIONS if it is
// set, as in
//
//	TOKEN_MUTATIONS=1000000 go test -run TestMutatedTokens ./internal/token
func mutations(t *testing.T) int {
	t.Helper()
	if text := os.Getenv("TOKEN_MUTATIONS"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		return n
	}
	return 20_000
}

// TestMutatedTokens changes valid tokens a little. None of the results is let
// in, unless it happens to be the token itself.
func TestMutatedTokens(t *testing.T) {
	t.Parallel()
	door := newTestDoor(t, testProfile())
	type target struct {
		keys *KeySet
		text string
	}
	var targets []target
	for _, alg := range []string{"HS256", "HS512", "RS256", "PS256", "ES256", "EdDSA"} {
		key := signingKey(t, "k1", alg)
		text, err := Sign(key, "", typicalClaims(testNow))
		require.NoError(t, err)
		keys := newTestKeys(t, key)
		_, err = door.Verify(keys, text)
		require.NoError(t, err)
		targets = append(targets, target{keys, text})
	}
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	refuse := func(target target, text string) {
		if text == target.text {
			return
		}
		token, err := door.Verify(target.keys, text)
		if err == nil || token != nil {
			t.Fatalf("let in %q, made from %q", text, target.text)
		}
	}

	// Every single bit of the text and of the decoded parts.
	for _, target := range targets[:2] {
		for i := range target.text {
			for bit := range 8 {
				changed := []byte(target.text)
				changed[i] ^= 1 << bit
				refuse(target, string(changed))
			}
		}
	}
	for _, target := range targets {
		p := newParts()
		require.True(t, p.split(target.text))
		for range 200 {
			header, payload, signature := string(p.header), string(p.payload), string(p.signature)
			part := []*string{&header, &payload, &signature}[random.IntN(3)]
			changed := []byte(*part)
			changed[random.IntN(len(changed))] ^= 1 << random.IntN(8)
			*part = string(changed)
			refuse(target, encode(header)+"."+encode(payload)+"."+encode(signature))
		}
	}
	// Structure. The public algorithms cost more, so they get fewer.
	for n := mutations(t); n > 0; n-- {
		target := targets[random.IntN(2)]
		if n%50 == 0 {
			target = targets[random.IntN(len(targets))]
		}
		other := targets[random.IntN(len(targets))]
		text := target.text
		for range 1 + random.IntN(3) {
			text = mutate(random, text, other.text)
		}
		refuse(target, text)
	}
}

// mutate makes one change to a text.
func mutate(random *rand.Rand, text, other string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\r\x00"
	at := random.IntN(len(text) + 1)
	end := min(len(text), at+1+random.IntN(8))
	character := alphabet[random.IntN(len(alphabet))]
	switch random.IntN(9) {
	case 0: // insert
		return text[:at] + string(character) + text[at:]
	case 1: // remove
		return text[:at] + text[end:]
	case 2: // replace
		return text[:at] + string(character) + text[min(len(text), at+1):]
	case 3: // repeat
		return text[:end] + text[at:]
	case 4: // truncate
		return text[:at] + text[len(text):]
	case 5: // change letter case
		return text[:at] + strings.ToUpper(text[at:end]) + text[end:]
	case 6: // take a part of another token
		a, b := strings.Split(text, "."), strings.Split(other, ".")
		i, j := random.IntN(len(a)), random.IntN(len(b))
		a[i] = b[j]
		return strings.Join(a, ".")
	case 7: // swap two parts
		a := strings.Split(text, ".")
		i, j := random.IntN(len(a)), random.IntN(len(a))
		a[i], a[j] = a[j], a[i]
		return strings.Join(a, ".")
	default: // change the last bits of a part
		a := strings.Split(text, ".")
		i := random.IntN(len(a))
		if a[i] != "" {
			a[i] = a[i][:len(a[i])-1] + string(character)
		}
		return strings.Join(a, ".")
	}
}

// hostileTokens returns tokens of about a size that nobody signed.
func hostileTokens(size int) map[string]string {
	part := size*3/4 - 80
	signature := "." + encode(strings.Repeat("x", 32))
	fill := func(prefix, repeat, suffix string) string {
		return prefix + strings.Repeat(repeat, (part-len(prefix)-len(suffix))/len(repeat)) + suffix
	}
	var names strings.Builder
	for i := 0; names.Len() < part-40; i++ {
		fmt.Fprintf(&names, `"%x":0,`, i)
	}
	inHeader := func(header string) string { return encode(header) + "." + encode("{}") + signature }
	return map[string]string{
		"letters":           strings.Repeat("A", size),
		"dots":              strings.Repeat(".", size),
		"big payload":       encode(goodHeader) + "." + encode(strings.Repeat("x", part-100)) + signature,
		"big signature":     encode(goodHeader) + "." + encode("{}") + "." + encode(strings.Repeat("x", part-100)),
		"deep header":       inHeader(fill("", "[", "")),
		"deep object":       inHeader(fill(`{"alg":"HS256","x":`, `{"a":`, "")),
		"many names":        inHeader("{" + names.String() + `"alg":"HS256"}`),
		"many objects":      inHeader(fill(`{"alg":"HS256","x":[`, `{"a":{}},`, `0]}`)),
		"objects of names":  inHeader(fill(`{"alg":"HS256"`, `,"x":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}`, `}`)),
		"long algorithm":    inHeader(fill(`{"alg":"`, "x", `"}`)),
		"escaped algorithm": inHeader(fill(`{"alg":"`, `\u0041`, `"}`)),
		"escaped key ID":    inHeader(fill(`{"alg":"HS256","kid":"`, `\u0041`, `"}`)),
		"escaped type":      inHeader(fill(`{"alg":"HS256","typ":"`, `\n`, `"}`)),
		"escaped names":     inHeader(fill(`{"alg":"HS256"`, `,"\u0041\u0041\u0041\u0041\u0041\u0041\u0041":1`, `}`)),
		"long number":       inHeader(fill(`{"alg":"HS256","x":1`, "0", `}`)),
		"long fraction":     inHeader(fill(`{"alg":"HS256","x":0.`, "1", `}`)),
		"white space":       inHeader(fill(`{"alg":"HS256"`, " ", `}`)),
	}
}

// TestHostileTokensCostLittle bounds what is allocated for a token that nobody
// signed: at most four times its size.
func TestHostileTokensCostLittle(t *testing.T) {
	// Not parallel: it measures.
	keys := newTestKeys(t, hmacKey(t, "k"))
	door := newTestDoor(t, Profile{})
	for name, text := range hostileTokens(DefaultMaxBytes) {
		require.LessOrEqual(t, len(text), DefaultMaxBytes, name)
		_, err := door.Verify(keys, text)
		require.ErrorIs(t, err, ErrInvalid, name)
		require.LessOrEqual(t, len(err.Error()), 512)

		const runs = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			_, _ = door.Verify(keys, text)
		}
		runtime.ReadMemStats(&after)
		perRun := (after.TotalAlloc - before.TotalAlloc) / runs
		require.LessOrEqual(t, perRun, uint64(4*len(text)), name)
	}
	// What is too long costs nothing at all.
	huge := strings.Repeat("A.", 4<<20)
	require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = door.Verify(keys, huge) }))
}

// TestVerifyAllocations keeps the number of allocations for a good token.
func TestVerifyAllocations(t *testing.T) {
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	door := newTestDoor(t, testProfile())
	text, err := Sign(key, "", typicalClaims(testNow))
	require.NoError(t, err)
	allocations := testing.AllocsPerRun(100, func() { _, err = door.Verify(keys, text) })
	require.NoError(t, err)
	if !raceEnabled {
		require.LessOrEqual(t, allocations, 5.0)
	}
}

// TestErrorsHoldNothingOfTheToken looks for parts of tokens in errors.
func TestErrorsHoldNothingOfTheToken(t *testing.T) {
	t.Parallel()
	const canary = "canary-91cc"
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	door := newTestDoor(t, testProfile())
	for _, text := range []string{
		canary,
		canary + "." + canary + "." + canary,
		signRaw(t, key, canary, goodClaims),
		signRaw(t, key, `{"alg":"`+canary+`"}`, goodClaims),
		signRaw(t, key, `{"alg":"HS256","kid":"`+canary+`"}`, goodClaims),
		signRaw(t, key, `{"alg":"HS256","typ":"`+canary+`"}`, goodClaims),
		signRaw(t, key, goodHeader, `{"sub":"`+canary+`","exp":1}`),
		signRaw(t, key, goodHeader, `{"`+canary+`"`),
	} {
		_, err := door.Verify(keys, text)
		require.ErrorIs(t, err, ErrInvalid)
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			printed := fmt.Sprintf(format, err)
			require.NotContains(t, printed, canary)
			require.NotContains(t, printed, encode(canary)[:8])
			require.Less(t, len(printed), 512)
		}
	}
}

// TestConcurrentUse uses one door, one key and one set from many goroutines,
// each with its own subject, so that a buffer that two share would show.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	door := newTestDoor(t, testProfile())
	key := hmacKey(t, "k")
	keys := newTestKeys(t, key)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 500 {
				subject := fmt.Sprintf("worker-%d-%d", worker, i)
				text, err := Sign(key, "", []Claim{
					StringClaim("sub", subject),
					IntClaim("exp", testNow.Add(time.Minute).Unix()),
					StringClaim("role", strings.Repeat("r", i%100)),
				})
				if err != nil {
					t.Error(err)
					return
				}
				token, err := door.Verify(keys, text)
				if err != nil || token.Subject != subject {
					t.Errorf("%v: %v", subject, err)
					return
				}
				if _, err := door.Verify(keys, text+"A"); err == nil {
					t.Error("let in")
				}
				if err := door.Recheck(token); err != nil {
					t.Error(err)
				}
				role, _ := token.Claim("role")
				if name, _ := role.Text(); len(name) != i%100 {
					t.Error(name)
				}
			}
		})
	}
	group.Wait()
}
