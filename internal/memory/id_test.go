package memory

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestIDsLeadBackToTheirPosition(t *testing.T) {
	g := newIDs()
	now := time.Now()
	for _, seq := range []uint64{1, 2, 1<<26 - 1, 1 << 26, 1<<36 - 1, 1 << 36, 1<<40 + 12345, maxSeq} {
		id := made(&g, now, seq)
		require.EqualValues(t, 7, id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		sec, nsec := id.Time().UnixTime()
		require.Equal(t, now.UnixMilli(), time.Unix(sec, nsec).UnixMilli(), "the time within is that of the entry")
		got, ours := g.seq(id)
		require.True(t, ours)
		require.Equal(t, seq, got)
	}
}

func TestIDsIncrease(t *testing.T) {
	g := newIDs()
	now := time.Now()
	var last uuid.UUID
	for seq, at := range []time.Duration{0, 0, time.Millisecond, -time.Hour, -time.Hour, time.Second, 0} {
		id := made(&g, now.Add(at), uint64(seq)+1)
		require.Negative(t, bytes.Compare(last[:], id[:]), "also when the clock went back")
		last = id
	}
}

func TestForeignIDsAreRefused(t *testing.T) {
	g, other := newIDs(), newIDs()
	now := time.Now()
	mine := made(&g, now, 5)
	flip := func(i int, mask byte) uuid.UUID {
		id := mine
		id[i] ^= mask
		return id
	}
	random, err := uuid.NewV7()
	require.NoError(t, err)
	for _, tt := range []struct {
		name string
		id   uuid.UUID
	}{
		{"the zero ID", uuid.Nil},
		{"all ones", uuid.Max},
		{"a random one", uuid.New()},
		{"a version 7 of somebody else", random},
		{"one of another log", made(&other, now, 5)},
		{"another version", flip(6, 0x10)},
		{"another variant", flip(8, 0x40)},
		{"another time", flip(5, 1)},
		{"another position", flip(11, 4)},
		{"another check sum", flip(15, 1)},
		{"position zero", made(&g, now, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, ours := g.seq(tt.id)
			require.False(t, ours)
		})
	}
}

func FuzzIDs(f *testing.F) {
	g := ids{k0: 0x0123456789abcdef, k1: 0xfedcba9876543211}
	first := made(&g, time.UnixMilli(1_700_000_000_000), 1)
	f.Add(first[:])
	f.Add(bytes.Repeat([]byte{0xff}, 16))
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, err := uuid.FromBytes(raw)
		if err != nil {
			return
		}
		seq, ours := g.seq(id)
		if !ours {
			return
		}
		// Only what the log would have made is its own.
		ms := int64(raw[0])<<40 | int64(raw[1])<<32 | int64(raw[2])<<24 | int64(raw[3])<<16 | int64(raw[4])<<8 | int64(raw[5])
		again := ids{k0: g.k0, k1: g.k1, lastMS: ms}
		require.Equal(t, id, made(&again, time.UnixMilli(ms), seq))
	})
}

func made(g *ids, now time.Time, seq uint64) (id uuid.UUID) {
	g.make(&id, now, seq)
	return id
}
