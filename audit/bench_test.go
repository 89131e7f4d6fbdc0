package audit_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// BenchmarkGuardedWrite is a write to a channel that nobody follows, with different sinks. What a sink adds is the difference
// to "a sink that does nothing", which is what any sink at all costs: the guard decides anew each time. Writes come
// in bursts that a queue has room for, and are not timed while it empties; "lost/op" is the share that was dropped nevertheless.
func BenchmarkGuardedWrite(b *testing.B) {
	const burst = audit.DefaultQueue / 2
	none := func(*testing.B) (audit.Sink, func() float64) { return nil, nil }
	file := func(b *testing.B, c audit.FileConfig) *audit.File {
		c.Dir = b.TempDir()
		f, err := audit.OpenFile(c)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, f.Close()) })
		return f
	}
	async := func(b *testing.B, c audit.FileConfig) (audit.Sink, func() float64) {
		a, err := audit.NewAsync(file(b, c), 0)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, a.Close(context.Background())) })
		return a, func() float64 {
			require.NoError(b, a.Flush(context.Background()))
			return float64(a.Stats().DroppedAllowed)
		}
	}
	for _, row := range []struct {
		name string
		open func(b *testing.B) (audit.Sink, func() (lost float64))
	}{
		{"no sink", none},
		{"a sink that does nothing", func(*testing.B) (audit.Sink, func() float64) {
			return audit.SinkFunc(func(context.Context, audit.Record) error { return nil }), nil
		}},
		{"counters", func(*testing.B) (audit.Sink, func() float64) { return audit.Measure(audit.NewCounters()), nil }},
		{"ring", func(b *testing.B) (audit.Sink, func() float64) {
			r, err := audit.NewRing(10_000)
			require.NoError(b, err)
			return r, nil
		}},
		{"async file", func(b *testing.B) (audit.Sink, func() float64) { return async(b, audit.FileConfig{}) }},
		{"async file with a chain", func(b *testing.B) (audit.Sink, func() float64) { return async(b, audit.FileConfig{Chain: true}) }},
		{"async file of one in 100", func(b *testing.B) (audit.Sink, func() float64) {
			a, lost := async(b, audit.FileConfig{})
			s, err := audit.Sample(a, 100)
			require.NoError(b, err)
			return s, lost
		}},
		{"file that syncs each second", func(b *testing.B) (audit.Sink, func() float64) {
			return file(b, audit.FileConfig{SyncEvery: time.Second}), nil
		}},
		{"file that syncs at once", func(b *testing.B) (audit.Sink, func() float64) { return file(b, audit.FileConfig{}), nil }},
		{"slog as JSON", func(*testing.B) (audit.Sink, func() float64) {
			return audit.Slog(slog.New(slog.NewJSONHandler(io.Discard, nil))), nil
		}},
	} {
		b.Run(row.name, func(b *testing.B) {
			acl, err := chansec.NewACLSecurity(chansec.ACLWrite("w"))
			require.NoError(b, err)
			opts := []chansec.Option{chansec.WithSecurity(acl), chansec.WithMaxMessages(1 << 12)}
			sink, lost := row.open(b)
			if sink != nil {
				opts = append(opts, chansec.WithAudit(audit.Decisions(sink)))
			}
			ch, err := chansec.NewBroadcast[int]("readings", opts...)
			require.NoError(b, err)
			defer ch.Close()
			require.NoError(b, ch.Start(b.Context()))
			w, ctx := ch.As("w"), b.Context()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := w.Write(ctx, i); err != nil {
					b.Fatal(err)
				}
				if lost != nil && i%burst == burst-1 {
					b.StopTimer()
					_ = lost()
					b.StartTimer()
				}
			}
			if lost != nil {
				b.ReportMetric(lost()/float64(b.N), "lost/op")
			}
		})
	}
}
