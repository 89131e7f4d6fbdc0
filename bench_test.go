package chansec

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func benchJWT(b *testing.B, opts ...JWTOption) (*JWTSecurity, string) {
	key, err := HMACKey("k1", "HS256", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		b.Fatal(err)
	}
	j, err := NewJWTSecurity(key, opts...)
	if err != nil {
		b.Fatal(err)
	}
	text, err := j.GenerateToken(b.Context(), TokenRequest{SystemID: "sensor-1", Role: RoleWrite, Channels: []string{"readings", "alarms"}, ExpiresIn: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	return j, text
}

func BenchmarkJWTFirstSight(b *testing.B) {
	j, text := benchJWT(b, JWTCache(0))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Authenticate(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJWTAgain(b *testing.B) {
	j, text := benchJWT(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Authenticate(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
}

func benchACL(b *testing.B) *ACLSecurity {
	acl, err := NewACLSecurity(ACLRead("r"), ACLWrite("w"))
	require.NoError(b, err)
	return acl
}

func BenchmarkACL(b *testing.B) {
	acl, ctx := benchACL(b), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := acl.AuthorizeRead(ctx, "r", "x"); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite0 writes to a channel that nobody follows.
func BenchmarkWrite0(b *testing.B) {
	ctx := b.Context()
	ch, err := NewBroadcast[int]("readings", WithSecurity(benchACL(b)), WithMaxMessages(1<<16))
	require.NoError(b, err)
	defer ch.Close()
	require.NoError(b, ch.Start(ctx))
	w := ch.As("w")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := w.Write(ctx, i); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite1 writes to one lease, which reads at the same time, and waits until it has seen the last message.
func BenchmarkWrite1(b *testing.B) {
	ctx := b.Context()
	ch, err := NewBroadcast[int]("readings", WithSecurity(benchACL(b)), WithMaxMessages(1<<16))
	require.NoError(b, err)
	defer ch.Close()
	require.NoError(b, ch.Start(ctx))
	w := ch.As("w")
	lease, err := ch.As("r").Subscribe(ctx)
	require.NoError(b, err)
	n := b.N
	done := make(chan error, 1)
	go func() {
		seen := 0
		for _, err := range lease.Messages(ctx) {
			var lagged *LaggedError
			switch {
			case err == nil:
				seen++
			case errors.As(err, &lagged):
				seen += int(lagged.Missed)
			default:
				done <- err
				return
			}
			if seen >= n {
				break
			}
		}
		done <- nil
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range n {
		if _, err := w.Write(ctx, i); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkQueue writes, claims and acknowledges.
func BenchmarkQueue(b *testing.B) {
	ctx := b.Context()
	ch, err := NewWorkQueue[int]("jobs", WithSecurity(benchACL(b)), WithMaxMessages(1<<16))
	require.NoError(b, err)
	defer ch.Close()
	require.NoError(b, ch.Start(ctx))
	w := ch.As("w")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := w.Write(ctx, i); err != nil {
			b.Fatal(err)
		}
		claim, err := w.ClaimNext(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if err := claim.Acknowledge(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
