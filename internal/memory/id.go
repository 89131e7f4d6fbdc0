package memory

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// ids makes UUIDv7 (RFC 9562 section 5.7) whose counter is the entry's sequence number, so that an ID leads back to its
// position without an index:
//
//	48 bits  Unix milliseconds, never going back
//	 4 bits  version 7
//	12 bits  sequence, upper part
//	 2 bits  variant
//	36 bits  sequence, lower part
//	26 bits  keyed check sum
//
// The check sum keeps IDs of different logs apart and tells a foreign ID from one that was discarded. It is no secret.
type ids struct {
	k0, k1 uint64
	lastMS int64
}

const maxSeq = 1<<48 - 1

func newIDs() ids { return ids{k0: rand.Uint64() | 1, k1: rand.Uint64() | 1} }

func (g *ids) check(ms int64, seq uint64) uint64 {
	hi, lo := bits.Mul64(seq^g.k0, uint64(ms)^g.k1)
	return (hi ^ lo) >> 38
}

// make writes an ID where it belongs: two words that are copied at once as one have to wait for each other.
func (g *ids) make(id *uuid.UUID, now time.Time, seq uint64) {
	g.lastMS = max(g.lastMS, now.UnixMilli())
	g.again(id, seq)
}

// again writes the ID that make wrote last, for that sequence number.
func (g *ids) again(id *uuid.UUID, seq uint64) {
	binary.BigEndian.PutUint64(id[:8], uint64(g.lastMS)<<16|7<<12|seq>>36&0xfff)
	binary.BigEndian.PutUint64(id[8:], 1<<63|(seq&(1<<36-1))<<26|g.check(g.lastMS, seq))
}

// seq returns the position that an ID names, or false for an ID that this log did not make.
func (g *ids) seq(id uuid.UUID) (uint64, bool) {
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	seq := hi&0xfff<<36 | lo>>26&(1<<36-1)
	ours := hi>>12&0xf == 7 && lo>>62 == 2 && lo&(1<<26-1) == g.check(int64(hi>>16), seq)
	return seq, ours && seq > 0
}
