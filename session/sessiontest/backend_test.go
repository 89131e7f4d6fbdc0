package sessiontest_test

import (
	"testing"

	"github.com/chansec/chansec/session"
	"github.com/chansec/chansec/session/sessiontest"
)

func TestMemoryBackend(t *testing.T) {
	sessiontest.TestBackend(t, func(t *testing.T) func() session.Backend {
		b, err := session.NewMemoryBackend(0)
		if err != nil {
			t.Fatal(err)
		}
		return func() session.Backend { return b }
	})
}
