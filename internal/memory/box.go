package memory

import "github.com/chansec/chansec/driver"

// box is the entries of one addressee in order. An entry's place in the box, its ordinal, counts from 1 and is dense, so
// that a reader who fell behind retention can be told exactly how many entries it missed. The box of all entries stores
// no numbers: there, ordinal and sequence number are the same.
type box struct {
	first    uint64  // ordinal of the oldest entry that may be stored
	seqs     ring    // sequence numbers of the ordinals from first on
	gone     spans   // ordinals discarded on purpose
	vague    uint64  // up to this ordinal some of gone may have been forgotten
	next     uint64  // ordinal of the oldest entry that was never claimed
	returned minHeap // sequence numbers given back by those who had claimed them
	live     int     // entries that are stored
	readers  int     // open readers, which remember ordinals
}

// trim forgets the entries before a sequence number.
func (b *box) trim(first uint64) {
	for b.seqs.n > 0 && b.seqs.at(0) < first {
		b.seqs.pop()
		b.first++
	}
}

// end is the ordinal behind the newest entry.
func (b *box) end() uint64 { return b.first + uint64(b.seqs.n) }

func (b *box) seq(ord uint64) uint64 { return b.seqs.at(int(ord - b.first)) }

// box returns the box of a name, made if need be.
func (l *Log[V]) box(name string) (*box, error) {
	if b := l.boxes[name]; b != nil {
		return b, nil
	}
	if len(l.boxes) > l.cfg.MaxBoxes { // the box of everyone does not count
		for name, b := range l.boxes {
			if name != "" && b.live == 0 && b.readers == 0 {
				delete(l.boxes, name)
			}
		}
		if len(l.boxes) > l.cfg.MaxBoxes {
			return nil, driver.ErrTooManyBoxes
		}
	}
	b := &box{first: 1, next: 1}
	l.boxes[name] = b
	return b, nil
}

// lane is a box as a reader or a claim walks it: the whole log, or one addressee's entries.
type lane[V any] struct {
	*box
	log *Log[V]
}

func (n lane[V]) whole() bool { return n.box == &n.log.all }

// bounds returns the ordinals of the oldest entry that may be stored and behind the newest.
func (n lane[V]) bounds() (first, end uint64) {
	if n.whole() {
		return n.log.first.Load(), n.log.tail.Load() + 1
	}
	n.trim(n.log.first.Load())
	return n.first, n.end()
}

func (n lane[V]) seq(ord uint64) uint64 {
	if n.whole() {
		return ord
	}
	return n.box.seq(ord)
}

// after returns the ordinal of the newest entry that is not behind seq. For entries that retention took, it is
// exact where the lane is the whole log, and the last that went otherwise.
func (n lane[V]) after(seq uint64) uint64 {
	if n.whole() {
		return seq
	}
	first, _ := n.bounds()
	return first + uint64(n.seqs.search(seq+1)) - 1
}

// discarded notes ordinals that were discarded on purpose.
func (b *box) discarded(lo, hi uint64) { b.vague = max(b.vague, b.gone.add(lo, hi)) }
