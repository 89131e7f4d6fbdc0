package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// Secrets are planted wherever a trail comes near one. Nothing that comes out of it holds any: no file, no log, no counter, no
// error, no record, however it is printed.
func TestNothingHoldsASecret(t *testing.T) {
	ctx := t.Context()
	const (
		password = "hunter2-planted"
		payload  = "payload-planted"
		panicked = "panic-planted"
	)
	signing, chainKey := []byte("signing-key-planted-signing-key-planted"), []byte("chain-key-planted-chain-key-planted-")
	key, err := chansec.HMACKey("k1", "HS256", signing)
	require.NoError(t, err)
	jwt, err := chansec.NewJWTSecurity(key)
	require.NoError(t, err)
	issue := func(who string, channels ...string) string {
		token, err := jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: who, Role: chansec.RoleWrite, Channels: channels, ExpiresIn: time.Hour})
		require.NoError(t, err)
		return token
	}
	good, elsewhere := issue("alice", "readings"), issue("bob", "alarms")
	revoked := issue("carol", "readings")
	forged := good[:len(good)-6] + "AAAAAA"

	var out bytes.Buffer // all that comes out
	keep := func(what string, err error) {
		fmt.Fprintf(&out, "%s: %v %+v %#v\n", what, err, err, err)
		for e := err; e != nil; e = errors.Unwrap(e) {
			fmt.Fprintf(&out, "%v %#v\n", e, e)
		}
	}
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	full := false
	file, err := openTrail(FileConfig{Dir: t.TempDir(), Key: chainKey}, func(step string, do func() error) error {
		if full && step == "write" {
			return errDisk
		}
		return do()
	})
	require.NoError(t, err)
	ring, err := NewRing(1000)
	require.NoError(t, err)
	async, err := NewAsync(ring, 0)
	require.NoError(t, err)
	counters := NewCounters()
	breaks := false
	all := Tee(file, async, Slog(log), Measure(counters), NewOptional(SinkFunc(func(context.Context, Record) error {
		if breaks {
			panic(panicked)
		}
		return nil
	})), SinkFunc(func(context.Context, Record) error {
		if breaks {
			panic(panicked)
		}
		return nil
	}))
	ch, err := chansec.NewBroadcast[string]("readings", chansec.WithSecurity(jwt), chansec.WithRequiredAudit(Decisions(all)), chansec.WithLogger(log))
	require.NoError(t, err)
	defer ch.Close()
	require.NoError(t, ch.Start(ctx))

	for _, token := range []string{good, elsewhere, forged, revoked, good + ".", password, ""} {
		caller, err := ch.Authenticate(ctx, token)
		keep("authenticate", err)
		if err != nil {
			continue
		}
		if token == revoked {
			keep("revoke", jwt.RevokeSubject("carol", time.Now().Add(time.Second)))
		}
		_, err = ch.For(caller).Write(ctx, payload)
		keep("write", err)
		_, err = ch.For(caller).Clear(ctx)
		keep("clear", err)
	}
	for _, script := range []string{"add principal 'alice' '" + password + "' ['R']", "set password 'alice' '" + password + "'", "verify pasword alice " + password} {
		keep("script", all.Record(ctx, Record{Time: time.Now(), Kind: KindPolicy, Operation: OpScript, Outcome: chansec.Denied, Principal: "boss", Detail: RedactScript(script)}))
	}
	breaks = true
	_, err = ch.As("alice").Write(ctx, payload)
	keep("a sink that panics", err)
	breaks, full = false, true
	_, err = ch.As("alice").Write(ctx, payload)
	keep("a disk that is full", err)
	full = false
	_, err = OpenFile(FileConfig{Dir: file.dir, Key: chainKey})
	keep("open twice", err)
	_, err = OpenFile(FileConfig{Dir: t.TempDir(), Key: chainKey[:20]})
	keep("a short key", err)
	require.NoError(t, file.Close())
	_, err = OpenFile(FileConfig{Dir: file.dir, Key: append([]byte("x"), chainKey...)})
	keep("another key", err)
	_, err = Verify(ctx, file.dir, VerifyConfig{Key: append([]byte("x"), chainKey...)})
	keep("verify with another key", err)
	seen, err := Verify(ctx, file.dir, VerifyConfig{Key: chainKey})
	keep("verify", err)
	require.NoError(t, err)
	require.NoError(t, async.Close(ctx))

	fmt.Fprintf(&out, "%+v %#v %+v %s %v\n", seen, seen, async.Stats(), counters, counters.Counts())
	for r, err := range ring.Records(ctx, Filter{}) {
		require.NoError(t, err)
		text, err := json.Marshal(r)
		require.NoError(t, err)
		fmt.Fprintf(&out, "%+v %#v %s\n", r, r, text)
	}
	require.NoError(t, filepath.WalkDir(file.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		out.WriteString(name)
		out.Write(text)
		return err
	}))

	text := out.String()
	require.Greater(t, ring.Len(), 12)
	require.Contains(t, text, "alice", "the search does find what is there")
	require.Contains(t, text, "add principal 'alice' ***")
	planted := []string{password, payload, panicked, string(signing), string(chainKey), forged}
	for _, token := range []string{good, elsewhere, revoked, forged} {
		parts := strings.Split(token, ".")
		require.Len(t, parts, 3)
		sum := sha256.Sum256([]byte(token))
		planted = append(planted, parts[1], parts[2], string(sum[:]))
	}
	for _, secret := range planted {
		sum := sha256.Sum256([]byte(secret))
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
			fmt.Sprintf("%v", []byte(secret)), hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sum[:])} {
			require.NotContains(t, text, strings.Trim(form, "[]"))
		}
	}
}
