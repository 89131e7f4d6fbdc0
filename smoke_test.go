package chansec

import (
	"context"
	"errors"
	"github.com/stretchr/testify/require"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	ctx := t.Context()
	acl, err := NewACLSecurity(ACLRead("r"), ACLWrite("w"))
	require.NoError(t, err)
	ch, err := NewBroadcast[int]("readings", WithSecurity(acl))
	require.NoError(t, err)
	require.NoError(t, ch.Start(ctx))
	defer ch.Close()
	w, r := ch.As("w"), ch.As("r")
	lease, err := r.Subscribe(ctx)
	require.NoError(t, err)
	got := make(chan int, 1000)
	end := make(chan error, 1)
	go func() {
		for m, err := range lease.Messages(ctx) {
			if err != nil {
				end <- err
				return
			}
			got <- m.Content
		}
	}()
	for i := range 500 {
		_, err := w.Write(ctx, i)
		require.NoError(t, err)
	}
	for i := range 500 {
		require.Equal(t, i, <-got)
	}
	acl.Revoke("r")
	_, err = w.Write(ctx, 501)
	require.NoError(t, err)
	err = <-end
	require.ErrorIs(t, err, ErrRevoked)
	require.ErrorIs(t, err, ErrPermission)
	var p *PermissionError
	require.True(t, errors.As(err, &p))
	_, err = r.Read(ctx, 10)
	require.ErrorIs(t, err, ErrPermission)
	ms, err := w.Read(ctx, 1000)
	require.NoError(t, err)
	require.Len(t, ms, 501)

	q, _ := NewWorkQueue[string]("q", WithSecurity(acl), WithClaimTimeout(time.Second))
	require.NoError(t, q.Start(ctx))
	defer q.Close()
	qw := q.As("w")
	_, err = qw.Write(ctx, "a")
	require.NoError(t, err)
	c, err := qw.ClaimNext(ctx)
	require.NoError(t, err)
	require.NoError(t, c.Acknowledge(ctx))
	require.ErrorIs(t, c.Acknowledge(ctx), ErrClaimLost)
	_ = context.Background
}
func BenchmarkWrite1(b *testing.B) {
	ctx := b.Context()
	acl, _ := NewACLSecurity(ACLRead("r"), ACLWrite("w"))
	ch, _ := NewBroadcast[int]("readings", WithSecurity(acl), WithMaxMessages(1<<16))
	ch.Start(ctx)
	defer ch.Close()
	w, r := ch.As("w"), ch.As("r")
	lease, _ := r.Subscribe(ctx)
	done := make(chan int)
	n := b.N
	go func() {
		k := 0
		for _, err := range lease.Messages(ctx) {
			if err != nil {
				var l *LaggedError
				if errors.As(err, &l) {
					k += int(l.Missed)
					if k >= n {
						break
					}
					continue
				}
				panic(err)
			}
			if k++; k >= n {
				break
			}
		}
		done <- k
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range n {
		w.Write(ctx, i)
	}
	<-done
}
func BenchmarkWrite0(b *testing.B) {
	ctx := b.Context()
	acl, _ := NewACLSecurity(ACLRead("r"), ACLWrite("w"))
	ch, _ := NewBroadcast[int]("readings", WithSecurity(acl), WithMaxMessages(1<<16))
	ch.Start(ctx)
	defer ch.Close()
	w := ch.As("w")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Write(ctx, i)
	}
}
func BenchmarkQueue(b *testing.B) {
	ctx := b.Context()
	acl, _ := NewACLSecurity(ACLRead("r"), ACLWrite("w"))
	ch, _ := NewWorkQueue[int]("readings", WithSecurity(acl), WithMaxMessages(1<<16))
	ch.Start(ctx)
	defer ch.Close()
	w := ch.As("w")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Write(ctx, i)
		c, err := w.ClaimNext(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Acknowledge(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
func BenchmarkACL(b *testing.B) {
	ctx := b.Context()
	acl, _ := NewACLSecurity(ACLRead("r"), ACLWrite("w"))
	b.ReportAllocs()
	for b.Loop() {
		acl.AuthorizeRead(ctx, "r", "x")
	}
}
