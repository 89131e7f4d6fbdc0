package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// writeTrails makes the folders of the script audit.txtar: a trail, and the same one with a name changed.
func writeTrails(dir string) error {
	f, err := audit.OpenFile(audit.FileConfig{Dir: filepath.Join(dir, "trail"), Chain: true})
	if err != nil {
		return err
	}
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	for i, r := range []audit.Record{
		{Principal: "alice", Operation: chansec.OpWrite, Outcome: chansec.Allowed, Target: "prices/fx"},
		{Principal: "bob", Operation: chansec.OpWrite, Outcome: chansec.Denied, Target: "prices/fx", Reason: "no rule"},
		{Principal: "alice\x1b[2K", Operation: chansec.OpRead, Outcome: chansec.Denied, Target: "prices/\u202excat"},
	} {
		r.Time, r.Kind = at.Add(time.Duration(i)*time.Second), audit.KindDecision
		if err := f.Record(context.Background(), r); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(dir, "damaged"), os.DirFS(filepath.Join(dir, "trail"))); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "damaged", "*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), `"bob"`, `"eve"`)), 0o600); err != nil {
			return err
		}
	}
	return nil
}
