package memory

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

// fixture is a log with methods that fail the test instead of returning errors. Entries are numbered by their values.
type fixture struct {
	*testing.T
	*Log[int]
}

func newFixture(t *testing.T, cfg driver.Config) fixture {
	if cfg.MaxMessages == 0 {
		cfg.MaxMessages = 1000
	}
	if cfg.Boxes && cfg.MaxBoxes == 0 {
		cfg.MaxBoxes = 100
	}
	log, err := New[int](cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	return fixture{t, log}
}

func (f fixture) append(h driver.Head, values ...int) (stamps []driver.Stamp) {
	f.Helper()
	for _, v := range values {
		s, err := f.Append(f.Context(), h, v)
		require.NoError(f, err)
		stamps = append(stamps, s)
	}
	return stamps
}

func (f fixture) fill(n int) {
	f.Helper()
	for i := range n {
		f.append(driver.Head{}, i+1)
	}
}

func (f fixture) open(v driver.View, from driver.From) *reader[int] {
	f.Helper()
	r, err := f.Open(f.Context(), v, from)
	require.NoError(f, err)
	f.Cleanup(r.Close)
	return r.(*reader[int])
}

// read takes everything that is there.
func (f fixture) read(r driver.Reader[int]) (values []int, missed uint64) {
	f.Helper()
	for {
		b, err := r.Next(f.Context(), 1000)
		require.NoError(f, err)
		require.False(f, b.AtMost)
		for _, e := range b.Entries {
			values = append(values, e.Value)
		}
		missed += b.Missed
		r.Commit(len(b.Entries))
		if len(b.Entries) == 0 && b.Missed == 0 {
			return values, missed
		}
	}
}

func (f fixture) claim(name, box string, limit int, timeout time.Duration) []driver.Claimed[int] {
	f.Helper()
	got, err := f.Claim(f.Context(), driver.Consumer{Name: name}, box, limit, timeout, nil)
	require.NoError(f, err)
	return got
}

func values(claims []driver.Claimed[int]) (list []int) {
	for _, c := range claims {
		list = append(list, c.Value)
	}
	return list
}

func receipt(c driver.Claimed[int]) driver.Receipt {
	return driver.Receipt{ID: c.ID, Attempt: c.Attempt}
}

func (f fixture) nack(name string, c driver.Claimed[int]) {
	f.Helper()
	ok, err := f.Nack(f.Context(), name, receipt(c))
	require.NoError(f, err)
	require.True(f, ok)
}

func (f fixture) remove(stamps ...driver.Stamp) int {
	f.Helper()
	ids := make([]uuid.UUID, len(stamps))
	for i, s := range stamps {
		ids[i] = s.ID
	}
	n, err := f.Remove(f.Context(), ids)
	require.NoError(f, err)
	return n
}

func (f fixture) keep(n int) {
	f.Helper()
	_, err := f.Evict(f.Context(), time.Time{}, n)
	require.NoError(f, err)
}
