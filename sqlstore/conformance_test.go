package sqlstore

import (
	"testing"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/audit/audittest"
	"github.com/chansec/chansec/chansectest"
	"github.com/chansec/chansec/session"
	"github.com/chansec/chansec/session/sessiontest"
)

// onEach runs a suite on each of the engines.
func onEach(t *testing.T, suite func(t *testing.T, d Dialect)) {
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) { suite(t, d) })
	}
}

func TestSessionsAreABackend(t *testing.T) {
	onEach(t, func(t *testing.T, d Dialect) {
		sessiontest.TestBackend(t, func(t *testing.T) func() session.Backend {
			x := newStorage(t, d)
			return func() session.Backend { return x.open(t, Options{}).Sessions() }
		})
	})
}

func TestActivityIsAStore(t *testing.T) {
	onEach(t, func(t *testing.T, d Dialect) {
		audittest.TestStore(t, func(t *testing.T) func() audit.Store {
			x := newStorage(t, d)
			return func() audit.Store { return x.open(t, Options{}).Activity() }
		})
	})
}

func TestRevocationsAreABackend(t *testing.T) {
	onEach(t, func(t *testing.T, d Dialect) {
		chansectest.TestRevocations(t, func(t *testing.T) func() chansec.RevocationBackend {
			x := newStorage(t, d)
			return func() chansec.RevocationBackend { return x.open(t, Options{}).Revocations() }
		})
	})
}
