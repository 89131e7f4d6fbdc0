package audittest

import (
	"testing"

	"github.com/chansec/chansec/audit"
)

func TestStores(t *testing.T) {
	for name, newStorage := range map[string]func(t *testing.T) func() audit.Store{
		"ring": func(t *testing.T) func() audit.Store {
			ring, err := audit.NewRing(1000)
			if err != nil {
				t.Fatal(err)
			}
			return func() audit.Store { return ring }
		},
		"files":          files(audit.FileConfig{}),
		"files, chained": files(audit.FileConfig{Chain: true}),
		"files, small":   files(audit.FileConfig{Key: make([]byte, 32), MaxFileBytes: 4096}),
		"files, lazy":    files(audit.FileConfig{SyncEvery: 1}),
	} {
		t.Run(name, func(t *testing.T) { TestStore(t, newStorage) })
	}
}

func files(c audit.FileConfig) func(t *testing.T) func() audit.Store {
	return func(t *testing.T) func() audit.Store {
		c := c
		c.Dir = t.TempDir()
		return func() audit.Store {
			f, err := audit.OpenFile(c)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
}
