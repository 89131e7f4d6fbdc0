package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// VerifyConfig is what Verify knows of a trail.
type VerifyConfig struct {
	Key    []byte // that of the File; nil where it had none
	Anchor *Head  // an end that the trail once had, from somewhere safe; nil: nobody knows what may be missing at the end
}

// Verified is what Verify has seen.
type Verified struct {
	Files   int
	Records uint64
	First   uint64 // the number of the first record that is there, or would be
	Head    Head   // the end, for the next Anchor
}

// Verify reads a trail that was written with a chain, and finds whether every record, and every byte, is as it was written:
// one that was changed, added, moved to another place or removed, also with the whole file it was in. The error is a
// *DamagedError then, which says where.
//
// Two things can be known only with more than the trail. Without an Anchor, that the end was cut off at the end of a record
// (or everything removed). Without a Key, that somebody who knows how this works has written the hashes anew from
// the place of a change to the end; an Anchor finds that as well, for what was before it.
//
// The files that a File removed are vouched for by its record of that. The end of a trail that is being written may look
// torn.
func Verify(ctx context.Context, dir string, c VerifyConfig) (Verified, error) {
	return VerifyFS(ctx, os.DirFS(dir), c)
}

// VerifyFS is [Verify] for a folder that is somewhere else, such as in an archive, or whose reading is to be watched.
func VerifyFS(ctx context.Context, folder fs.FS, c VerifyConfig) (Verified, error) {
	chain, err := newChain(c.Key)
	if err != nil {
		return Verified{}, err
	}
	files, err := listFiles(folder)
	if err != nil {
		return Verified{}, err
	}
	v := &verifier{ctx: ctx, folder: folder, chain: chain, anchor: c.Anchor, sure: true}
	for i, file := range files {
		if err := v.file(file, i == 0); err != nil {
			return v.Verified, err
		}
	}
	if v.First > max(1, v.kept) {
		v.problem(files[0].name, 0, FaultMissing, fmt.Sprintf("records %d to %d are missing, and no record says that they were removed",
			max(1, v.kept), v.First-1))
	}
	if v.anchor != nil {
		v.problem("", 0, FaultAnchor, fmt.Sprintf("the trail does not have record %d with the hash of the anchor", v.anchor.Seq))
	}
	v.Head = Head{Seq: v.seq, Hash: hex.EncodeToString(v.sum[:])}
	if len(v.found) > 0 {
		return v.Verified, &DamagedError{Problems: v.found}
	}
	return v.Verified, nil
}

type verifier struct {
	Verified
	ctx    context.Context
	folder fs.FS
	chain  *chain
	anchor *Head // nil when it was seen
	found  []Problem

	seq  uint64            // of the line before
	sum  [sha256.Size]byte // of the line before
	sure bool              // sum is what was written
	kept uint64            // the first record that was not removed, as the last record of a removal says
}

// problem notes a problem; false is enough of them.
func (v *verifier) problem(file string, line int, fault Fault, text string) bool {
	if len(v.found) < MaxProblems {
		v.found = append(v.found, Problem{file, line, fault, text})
	}
	return len(v.found) < MaxProblems
}

// pass compares with the anchor.
func (v *verifier) pass() {
	if v.anchor != nil && v.anchor.Seq == v.seq && v.anchor.Hash == hex.EncodeToString(v.sum[:]) {
		v.anchor = nil
	}
}

func (v *verifier) file(file dirFile, first bool) error {
	f, err := v.folder.Open(file.name)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	v.Files++
	lines := newLineReader(f)
	for n := 1; len(v.found) < MaxProblems; n++ {
		if n%256 == 1 && v.ctx.Err() != nil {
			return v.ctx.Err()
		}
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			if len(line) > 0 || n == 1 {
				v.problem(file.name, n, FaultTorn, fmt.Sprintf("a line without an end, of %d bytes", len(line)))
				v.sure = false
			}
			return nil
		case errors.Is(err, errLongLine):
			v.problem(file.name, n, FaultSyntax, err.Error())
			v.sure = false
			return nil
		case err != nil:
			return fmt.Errorf("audit: %w", err)
		case n == 1:
			v.header(file, line, first)
		default:
			v.record(file, n, line)
		}
	}
	return nil
}

func (v *verifier) header(file dirFile, line []byte, first bool) {
	h, body, sum, err := parseHeader(line)
	if first {
		v.First, v.seq = file.first, file.first-1
	}
	if err != nil || h.First != file.first {
		if err == nil {
			err = errors.New("the header of another file")
		}
		v.problem(file.name, 1, FaultSyntax, err.Error())
		v.sure = false
		return
	}
	if h.Chain != v.chain.name {
		v.problem(file.name, 1, FaultHash, fmt.Sprintf("the chain of this file is %s, and %s was asked for", h.Chain, v.chain.name))
		v.sure = false
		return
	}
	var prev [sha256.Size]byte
	n, _ := hex.Decode(prev[:], []byte(h.Prev))
	switch {
	case first && h.First > 1: // what was before is not here
		v.sum = prev
		v.pass()
	case h.First != v.seq+1:
		v.gap(file, 1, h.First)
	case v.sure && prev != v.sum:
		v.problem(file.name, 1, FaultHash, "the file does not follow from the one before")
	}
	if n != sha256.Size || v.chain.next(&prev, body) != sum {
		v.problem(file.name, 1, FaultHash, "the hash is another: the line was changed, or the key is not that of this trail")
	}
	v.seq, v.sum, v.sure = h.First-1, sum, true
	v.pass()
}

func (v *verifier) record(file dirFile, n int, line []byte) {
	v.Records++
	body, sum, err := cutHash(line)
	var r Record
	if err == nil {
		r, err = parseRecord(body)
	}
	if err != nil {
		v.problem(file.name, n, FaultSyntax, err.Error())
		v.seq, v.sure = v.seq+1, false
		return
	}
	if r.Seq != v.seq+1 {
		if v.gap(file, n, r.Seq); r.Seq <= v.seq {
			return
		}
	} else if v.sure && v.chain.next(&v.sum, body) != sum {
		v.problem(file.name, n, FaultHash, "the hash does not follow from this line and the one before")
	}
	v.seq, v.sum, v.sure = r.Seq, sum, true
	if r.Kind == KindTrail && r.Operation == OpPrune {
		v.kept = r.Version
	}
	v.pass()
}

// gap says that a record is not the next one.
func (v *verifier) gap(file dirFile, n int, seq uint64) {
	if seq > v.seq {
		v.problem(file.name, n, FaultMissing, fmt.Sprintf("record %d follows record %d: what was between them is missing", seq, v.seq))
	} else {
		v.problem(file.name, n, FaultOrder, fmt.Sprintf("record %d after record %d: it has changed its place, or is there twice", seq, v.seq))
	}
}
