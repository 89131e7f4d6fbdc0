package chansec_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// A keyed channel over HTTP: it is read and followed as any other, with the keys, from behind what was replaced or deleted as
// well; and it is not written.
func TestKeyedChannelsOverHTTP(t *testing.T) {
	ctx := t.Context()
	s := newSite(t)
	c, err := chansec.NewKeyed[int]("c", chansec.WithSecurity(s.jwt))
	s.mount(c, err)
	w := c.As("w")
	var ids []uuid.UUID
	for i := range 6 {
		id, err := w.Set(ctx, fmt.Sprint("key ", i%3), i)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	gone, err := w.Delete(ctx, "key 1")
	require.NoError(t, err)
	require.True(t, gone)

	far := dial[int](s, "c", s.token("r", chansec.RoleRead)).Broadcast()
	list, err := far.Read(ctx, 10)
	require.NoError(t, err)
	near, err := c.As("near").Read(ctx, 10)
	require.NoError(t, err)
	require.Len(t, list, 2)
	for i := range list {
		require.WithinDuration(t, near[i].Timestamp, list[i].Timestamp, 1e3)
		list[i].Timestamp = near[i].Timestamp
	}
	require.Equal(t, near, list, "keys and all")

	for i, want := range [][]int{{3, 5}, {3, 5}, {3, 5}, {5}, {5}} { // behind messages that were replaced, are there, and were deleted
		lease, err := far.SubscribeAfter(ctx, ids[i])
		require.NoError(t, err)
		var got []int
		for m, err := range lease.Messages(ctx) {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("key ", m.Content%3), m.Key)
			if got = append(got, m.Content); m.Content == 5 {
				break
			}
		}
		require.Equal(t, want, got)
		require.NoError(t, lease.Close())
	}

	writer := dial[int](s, "c", s.token("w", chansec.RoleWrite)).Broadcast()
	_, err = writer.Write(ctx, 1)
	require.ErrorIs(t, err, chansec.ErrUnsupported)
	_, err = far.(chansec.Writer[int]).Write(ctx, 1)
	require.ErrorIs(t, err, chansec.ErrPermission)
	n, err := dial[int](s, "c", s.token("a", chansec.RoleAdmin)).Broadcast().Remove(ctx, ids[5])
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = w.Get(ctx, "key 2")
	require.ErrorIs(t, err, chansec.ErrUnknownKey)
}
