package chansectest

import (
	"fmt"
	"testing"

	"github.com/chansec/chansec/driver"
)

// BenchmarkDriver measures a backend: appending, appending with one reader that follows, and appending, claiming and
// acknowledging with nothing and with 100,000 entries stored. newBackend makes a new and empty backend; the benchmark
// closes it.
func BenchmarkDriver(b *testing.B, newBackend func(b *testing.B, cfg driver.Config) driver.Backend[[]byte]) {
	value := make([]byte, 100)
	check := func(b *testing.B, err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	open := func(b *testing.B, cfg driver.Config) driver.Backend[[]byte] {
		backend := newBackend(b, cfg)
		b.Cleanup(func() { _ = backend.Close() })
		b.ReportAllocs()
		return backend
	}

	b.Run("append", func(b *testing.B) {
		backend := open(b, driver.Config{MaxMessages: 10_000})
		for b.Loop() {
			_, err := backend.Append(b.Context(), driver.Head{}, value)
			check(b, err)
		}
	})

	b.Run("append and read", func(b *testing.B) {
		backend := open(b, driver.Config{MaxMessages: 10_000})
		r, err := backend.Open(b.Context(), driver.View{}, driver.From{})
		check(b, err)
		b.Cleanup(r.Close)
		for b.Loop() {
			_, err := backend.Append(b.Context(), driver.Head{}, value)
			check(b, err)
			batch, err := r.Next(b.Context(), 10)
			check(b, err)
			if len(batch.Entries) != 1 {
				b.Fatalf("%d entries are read after one was appended", len(batch.Entries))
			}
			r.Commit(1)
		}
	})

	for _, stored := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("append, claim and acknowledge, %d stored", stored), func(b *testing.B) {
			backend := open(b, driver.Config{MaxMessages: 1_000_000, Claims: true, Reject: true})
			for range stored {
				_, err := backend.Append(b.Context(), driver.Head{}, value)
				check(b, err)
			}
			who := driver.Consumer{Name: "worker", Session: 1}
			var claims []driver.Claimed[[]byte]
			for b.Loop() {
				_, err := backend.Append(b.Context(), driver.Head{}, value)
				check(b, err)
				claims, err = backend.Claim(b.Context(), who, "", 1, long, claims[:0])
				check(b, err)
				if len(claims) != 1 {
					b.Fatalf("%d entries are claimed of at least one", len(claims))
				}
				ok, err := backend.Ack(b.Context(), who.Name, receiptOf(claims[0]))
				check(b, err)
				if !ok {
					b.Fatal("a claim was lost")
				}
			}
		})
	}
}
