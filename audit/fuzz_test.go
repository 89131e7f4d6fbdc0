package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// FuzzVerify puts anything in the place of a part of a trail. Only what was there is accepted.
func FuzzVerify(f *testing.F) {
	x := newTrail(f, 20, FileConfig{Key: testKey})
	require.Len(f, x.names, 2)
	whole := map[string]string{}
	for _, name := range x.names {
		whole[name] = strings.Join(x.lines[name], "")
	}
	first := whole[x.names[0]]
	f.Add(false, uint16(0), uint16(0), []byte(nil))
	f.Add(false, uint16(strings.Index(first, "\n")+1), uint16(len(x.lines[x.names[0]][1])), []byte(x.lines[x.names[0]][2]))
	f.Add(true, uint16(0), uint16(len(x.lines[x.names[1]][0])), []byte(nil))
	f.Add(true, uint16(30), uint16(1), []byte("\x00"))
	f.Add(false, uint16(len(first)-1), uint16(1), []byte(" \n"))
	f.Add(false, uint16(len(first)), uint16(0), []byte("{}\n"))
	f.Fuzz(func(t *testing.T, second bool, at, length uint16, with []byte) {
		folder := fstest.MapFS{}
		changed := false
		for i, name := range x.names {
			text := whole[name]
			if second == (i == 1) {
				from := min(int(at), len(text))
				to := min(from+int(length), len(text))
				text = text[:from] + string(with) + text[to:]
				changed = text != whole[name]
			}
			folder[name] = &fstest.MapFile{Data: []byte(text)}
		}
		_, err := VerifyFS(context.Background(), folder, VerifyConfig{Key: testKey, Anchor: &x.head})
		if !changed {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, ErrDamaged)
		var damaged *DamagedError
		require.ErrorAs(t, err, &damaged)
		require.LessOrEqual(t, len(damaged.Problems), MaxProblems)
	})
}

// FuzzLine reads anything as a line. What is a record or a header is written again byte for byte, and means to encoding/json
// what it means to us.
func FuzzLine(f *testing.F) {
	x := newTrail(f, 3, FileConfig{Chain: true})
	y := newTrail(f, 3, FileConfig{})
	for _, lines := range [][]string{x.lines[x.names[0]], y.lines[y.names[0]]} {
		for _, line := range lines {
			f.Add([]byte(strings.TrimSuffix(line, "\n")))
		}
	}
	for _, s := range []string{"", "{}", `{"seq":1}`, `{"seq":1,"time":"2030-01-02T03:04:05Z","kind":"trail","operation":"\u00e9","outcome":"denied"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		given := bytes.Clone(line)
		if h, body, _, err := parseHeader(line); err == nil {
			require.Equal(t, body, h.appendOpen(nil))
		}
		r, err := parseLine(line)
		require.Equal(t, given, line, "it is only read")
		if err != nil {
			return
		}
		require.True(t, bytes.HasPrefix(line, r.appendOpen(nil)))
		clean, err := r.Clean()
		require.NoError(t, err)
		require.Equal(t, r, clean)
		if _, _, err := cutHash(line); err == nil {
			return
		}
		var again Record
		require.NoError(t, json.Unmarshal(line, &again))
		require.Equal(t, r, again)
	})
}

// FuzzRecord records anything. What is taken comes back clean, from a file that can be verified.
func FuzzRecord(f *testing.F) {
	file, err := OpenFile(FileConfig{Dir: f.TempDir(), Chain: true, SyncEvery: time.Hour, MaxFileBytes: 1 << 16, MaxTotalBytes: 1 << 18})
	require.NoError(f, err)
	f.Cleanup(func() { _ = file.Close() })
	f.Add("decision", "alice", "write", "readings", "not listed", "", uint8(0), int64(1893456000), int64(5), uint64(7))
	f.Add("session", "\x00\xff\u2028", "", "é", strings.Repeat("x", 2000), "a\nb", uint8(3), int64(1)<<60, int64(-1), uint64(1)<<63)
	f.Fuzz(func(t *testing.T, kind, principal, operation, target, reason, detail string, outcome uint8, at, latency int64, version uint64) {
		r := Record{Time: time.Unix(at, latency), Kind: Kind(kind), Principal: principal, Operation: chansec.Operation(operation), Target: target, Reason: reason,
			Detail: detail, Outcome: chansec.Outcome(outcome), Latency: time.Duration(latency), Version: version, Votes: []Vote{{Handler: principal, Answer: reason}}}
		before := file.at.seq
		want, invalid := r.Clean()
		err := file.Record(t.Context(), r)
		if invalid != nil {
			require.ErrorIs(t, err, chansec.ErrInvalid)
			require.Equal(t, before, file.at.seq)
			return
		}
		require.NoError(t, err)
		for got, err := range file.Records(t.Context(), Filter{NewestFirst: true, Limit: 1}) {
			require.NoError(t, err)
			want.Seq = file.at.seq
			require.Equal(t, want, got)
		}
	})
}

// FuzzOpen opens a folder whose last file is anything. It is refused and left alone, or gone on with.
func FuzzOpen(f *testing.F) {
	x := newTrail(f, 3, FileConfig{Chain: true})
	text := strings.Join(x.lines[x.names[0]], "")
	f.Add([]byte(text))
	f.Add([]byte(text[:len(text)-20]))
	f.Add([]byte(strings.Replace(text, "user", "User", 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		name := dir + "/" + fileName(1)
		require.NoError(t, os.WriteFile(name, text, 0o600))
		file, err := OpenFile(FileConfig{Dir: dir, Chain: true, SyncEvery: time.Hour})
		if err != nil {
			require.True(t, errors.Is(err, ErrDamaged) || errors.Is(err, chansec.ErrInvalid), err)
			after, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, text, after)
			return
		}
		require.NoError(t, file.Record(t.Context(), login("more")))
		require.NoError(t, file.Close())
		_, err = OpenFile(FileConfig{Dir: dir, Chain: true})
		require.NoError(t, err)
	})
}
