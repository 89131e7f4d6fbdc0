package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

func openLatest(t *testing.T, max int) *Latest[int] {
	b, err := Open[int](t.Context(), "channel", driver.Config{MaxMessages: max, Keyed: true, Reject: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b.(*Latest[int])
}

// TestLatestEqualsAList does the same to a backend and to a list that is searched from the end.
func TestLatestEqualsAList(t *testing.T) {
	const max, keys = 20, 30
	r := rand.New(rand.NewPCG(1, 2))
	ctx := t.Context()
	l := openLatest(t, max)
	var list []driver.Entry[int]
	remove := func(match func(driver.Entry[int]) bool) int {
		was := len(list)
		list = slices.DeleteFunc(list, match)
		return was - len(list)
	}
	reader, err := l.Open(ctx, driver.View{All: true}, driver.From{})
	require.NoError(t, err)
	var pos uint64 // where the reader must be
	for i := range 20_000 {
		key := fmt.Sprint(r.IntN(keys))
		last := slices.IndexFunc(list, func(e driver.Entry[int]) bool { return e.Key == key })
		switch op := r.IntN(10); {
		case op < 6:
			stamp, err := l.Append(ctx, driver.Head{Key: key}, i)
			if last < 0 && len(list) == max {
				require.ErrorIs(t, err, driver.ErrFull)
				break
			}
			require.NoError(t, err)
			if last >= 0 {
				list = slices.Delete(list, last, last+1)
			}
			list = append(list, driver.Entry[int]{Stamp: stamp, Key: key, Value: i})
		case op == 6:
			e, err := l.Last(ctx, key)
			if last < 0 {
				require.ErrorIs(t, err, driver.ErrNotFound)
				break
			}
			require.NoError(t, err)
			require.Equal(t, list[last], e)
		case op == 7 && last >= 0:
			id := list[last].ID
			n, err := l.Remove(ctx, []uuid.UUID{id, id, uuid.New()})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			list = slices.Delete(list, last, last+1)
		case op == 8 && r.IntN(50) == 0:
			keep := r.IntN(max)
			n, err := l.Evict(ctx, time.Time{}, keep)
			require.NoError(t, err)
			oldest := len(list) - keep
			seen := 0
			require.Equal(t, n, remove(func(driver.Entry[int]) bool { seen++; return seen <= oldest }))
		default:
			limit := 1 + r.IntN(5)
			b, err := reader.Next(ctx, limit)
			require.NoError(t, err)
			require.Zero(t, b.Missed)
			var want []driver.Entry[int]
			for _, e := range list {
				if e.Seq > pos && len(want) < limit {
					want = append(want, e)
				}
			}
			require.Equal(t, len(want), len(b.Entries))
			require.True(t, slices.Equal(want, b.Entries))
			if n := r.IntN(len(want) + 1); n > 0 {
				reader.Commit(n)
				pos = want[n-1].Seq
			}
		}
		n, err := l.Len(ctx)
		require.NoError(t, err)
		require.Equal(t, len(list), n)
		require.LessOrEqual(t, len(l.entries), 2*max+fewGaps+1, "gaps are closed")
	}
}

func TestLatestEvictsByTime(t *testing.T) {
	l := openLatest(t, 10)
	one, err := l.Append(t.Context(), driver.Head{Key: "a"}, 1)
	require.NoError(t, err)
	_, err = l.Append(t.Context(), driver.Head{Key: "b"}, 2)
	require.NoError(t, err)
	n, err := l.Evict(t.Context(), one.Time, -1)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = l.Evict(t.Context(), time.Now().Add(time.Hour), -1)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	_, err = l.AppendIf(t.Context(), driver.Head{Key: "a"}, 3, 0)
	require.NoError(t, err)
	n, err = l.Clear(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestLatestWakesReaders(t *testing.T) {
	l := openLatest(t, 10)
	r, err := l.Open(t.Context(), driver.View{All: true}, driver.From{})
	require.NoError(t, err)
	wake := make(chan struct{}, 1)
	require.False(t, r.Wake(wake))
	_, err = l.Append(t.Context(), driver.Head{Key: "a"}, 1)
	require.NoError(t, err)
	<-wake
	require.True(t, r.Wake(wake), "there is something")
	b, err := r.Next(t.Context(), 10)
	require.NoError(t, err)
	r.Commit(len(b.Entries))
	require.False(t, r.Wake(wake))
	require.NoError(t, l.Close())
	<-wake
	_, err = r.Next(t.Context(), 1)
	require.ErrorIs(t, err, driver.ErrClosed)
	r.Close()
	r.Close()
	require.True(t, r.Wake(wake), "a closed reader waits for nothing")
}

func TestLatestHasNoClaims(t *testing.T) {
	l := openLatest(t, 10)
	_, err := l.Claim(t.Context(), driver.Consumer{}, "", 1, time.Second, nil)
	require.ErrorIs(t, err, errNoClaims)
	_, ready := l.WakeClaim("", nil)
	require.True(t, ready)
	require.NoError(t, l.Close())
	_, err = l.Release(t.Context(), driver.Consumer{})
	require.ErrorIs(t, err, driver.ErrClosed)
}
