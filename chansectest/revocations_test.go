package chansectest_test

import (
	"testing"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/chansectest"
)

func TestMemoryRevocations(t *testing.T) {
	chansectest.TestRevocations(t, func(*testing.T) func() chansec.RevocationBackend {
		b := chansec.NewMemoryRevocations()
		return func() chansec.RevocationBackend { return b }
	})
}
