package signal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/signal"
)

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestAllWhoAskedAreToldOnceAndNobodyElse(t *testing.T) {
	var s signal.Signal
	s.Give() // nobody asked
	first, same := s.Next(), s.Next()
	require.False(t, closed(first))
	s.Give()
	require.True(t, closed(first))
	require.True(t, closed(same))
	later := s.Next()
	require.False(t, closed(later))
	s.Give()
	require.True(t, closed(later))
}
