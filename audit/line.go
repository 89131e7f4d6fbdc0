package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A trail is a folder of files, each of which begins with a header and goes on with records, one JSON object a line. A name
// is the number of the first record, so that files sort by it.
const (
	fileEnding  = ".jsonl"
	draftEnding = ".draft" // not yet, or never, a file of the trail
	nameDigits  = 20
	lockName    = "lock"

	format       = "chansec-audit-1"
	maxLineBytes = 1 << 20 // more than any clean record takes
)

func fileName(first uint64) string { return fmt.Sprintf("%0*d", nameDigits, first) + fileEnding }

// dirFile is a file of a trail.
type dirFile struct {
	name  string
	first uint64
	size  int64
}

// listFiles returns the files of a folder, oldest first. What has another name is none of them.
func listFiles(folder fs.FS) ([]dirFile, error) {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var files []dirFile
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), fileEnding)
		first, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || first == 0 || e.Name() != fileName(first) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned just now
		}
		if err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		files = append(files, dirFile{e.Name(), first, info.Size()})
	}
	slices.SortFunc(files, func(a, b dirFile) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// chain makes the hashes of a trail. nil makes none.
type chain struct {
	name string
	mac  hash.Hash
	sum  [sha256.Size]byte
}

const (
	chainNone = "none"
	chainHash = "sha256"
	chainHMAC = "hmac-sha256"
)

// minKeyBytes is the shortest key.
const minKeyBytes = 32

func newChain(key []byte) (*chain, error) {
	switch {
	case len(key) == 0:
		return &chain{name: chainHash, mac: sha256.New()}, nil
	case len(key) < minKeyBytes:
		return nil, invalid("key of the trail", "", strconv.Itoa(minKeyBytes)+" bytes or more")
	}
	return &chain{name: chainHMAC, mac: hmac.New(sha256.New, key)}, nil
}

func (c *chain) called() string {
	if c == nil {
		return chainNone
	}
	return c.name
}

// next returns the hash of a line without its end, after the line with the hash prev.
func (c *chain) next(prev *[sha256.Size]byte, body []byte) [sha256.Size]byte {
	c.mac.Reset()
	c.mac.Write(prev[:])
	c.mac.Write(body)
	c.mac.Sum(c.sum[:0])
	return c.sum
}

// end completes the line that begins at start.
func (c *chain) end(b []byte, start int, prev *[sha256.Size]byte) []byte {
	if c != nil {
		*prev = c.next(prev, b[start:])
		b = append(b, hashMember...)
		b = hex.AppendEncode(b, prev[:])
		b = append(b, '"')
	}
	return append(b, "}\n"...)
}

const hashMember = `,"hash":"`

// cutHash splits a line, without its line feed, into what the hash is of, and the hash.
func cutHash(line []byte) (body []byte, sum [sha256.Size]byte, err error) {
	const tail = len(hashMember) + 2*sha256.Size + len(`"}`)
	at := len(line) - tail
	if at < 1 || !bytes.HasPrefix(line[at:], []byte(hashMember)) || !bytes.HasSuffix(line, []byte(`"}`)) {
		return nil, sum, errors.New("no hash at its end")
	}
	text := line[at+len(hashMember) : len(line)-2]
	if _, err := hex.Decode(sum[:], text); err != nil || !bytes.Equal(text, bytes.ToLower(text)) {
		return nil, sum, errors.New("no hash at its end")
	}
	return line[:at], sum, nil
}

// cut is cutHash for lines with and without a hash.
func cut(line []byte, chained bool) (body []byte, sum [sha256.Size]byte, err error) {
	if chained {
		return cutHash(line)
	}
	body, ok := bytes.CutSuffix(line, []byte("}"))
	if !ok {
		err = errors.New("no object")
	}
	return body, sum, err
}

// header is the first line of a file.
type header struct {
	Trail string    `json:"trail"`
	First uint64    `json:"first"` // the number of the first record
	Time  time.Time `json:"time"`
	Chain string    `json:"chain"`
	Prev  string    `json:"prev,omitempty"` // the hash of the line before, in another file
}

func (h *header) appendOpen(b []byte) []byte {
	b = append(b, `{"trail":"`+format+`","first":`...)
	b = strconv.AppendUint(b, h.First, 10)
	b = append(b, `,"time":"`...)
	b = h.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","chain":"`+h.Chain+`"`...)
	if h.Chain != chainNone {
		b = append(b, `,"prev":"`+h.Prev+`"`...)
	}
	return b
}

// parseHeader reads a header. Only what appendOpen writes is one.
func parseHeader(line []byte) (h header, body []byte, sum [sha256.Size]byte, err error) {
	chained := bytes.Contains(line, []byte(hashMember))
	if body, sum, err = cut(line, chained); err != nil {
		return h, nil, sum, err
	}
	if err := json.Unmarshal(append(slices.Clone(body), '}'), &h); err != nil {
		return h, nil, sum, errors.New("no header")
	}
	switch h.Chain {
	case chainNone:
		chained = !chained
	case chainHash, chainHMAC:
		_, err = hex.DecodeString(h.Prev)
	default:
		chained = false
	}
	if !chained || err != nil || len(h.Prev) > 2*sha256.Size || h.First == 0 || !inYears(h.Time) || !bytes.Equal(h.appendOpen(nil), body) {
		return h, nil, sum, errors.New("no header of a trail that this version knows")
	}
	return h, body, sum, nil
}

// inYears reports whether a time has a form in JSON: of the years 1 to 9999.
func inYears(t time.Time) bool {
	const first, last = -62135596800, 253402300799
	return t.Unix() >= first && t.Unix() <= last
}

// parseRecord reads the body of a line. Only what a File writes is a record: byte for byte what comes of writing it again.
func parseRecord(body []byte) (Record, error) {
	var w wireRecord
	if err := json.Unmarshal(append(slices.Clone(body), '}'), &w); err != nil {
		return Record{}, errors.New("no record")
	}
	r, err := w.record()
	if err != nil || r.Seq == 0 || !bytes.Equal(r.appendOpen(nil), body) {
		return Record{}, errors.New("no record as this version writes it")
	}
	return r, nil
}

// parseSeq reads the number of a record, which comes first.
func parseSeq(body []byte) (uint64, error) {
	rest, ok := bytes.CutPrefix(body, []byte(`{"seq":`))
	digits, _, found := bytes.Cut(rest, []byte(","))
	if !ok || !found {
		return 0, errors.New("no number at its beginning")
	}
	return strconv.ParseUint(string(digits), 10, 64)
}

// lineReader reads lines, the last of which may be torn.
type lineReader struct {
	from io.Reader
	buf  []byte
	r, w int
	err  error
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{from: r, buf: make([]byte, 64<<10)} }

var errLongLine = errors.New("a line that is longer than any record")

// next returns the next line without its line feed, until the next call. The end is io.EOF, with what is torn, if anything.
func (l *lineReader) next() (line []byte, err error) {
	scanned := 0
	for {
		if i := bytes.IndexByte(l.buf[l.r+scanned:l.w], '\n'); i >= 0 {
			line = l.buf[l.r : l.r+scanned+i]
			l.r += scanned + i + 1
			return line, nil
		}
		scanned = l.w - l.r
		if l.err != nil {
			line = l.buf[l.r:l.w]
			l.r = l.w
			return line, l.err
		}
		if scanned > maxLineBytes {
			return nil, errLongLine
		}
		if l.r > 0 {
			copy(l.buf, l.buf[l.r:l.w])
			l.r, l.w = 0, scanned
		}
		if l.w == len(l.buf) {
			l.buf = append(l.buf, make([]byte, len(l.buf))...)
		}
		var n int
		n, l.err = l.from.Read(l.buf[l.w:])
		l.w += n
	}
}
