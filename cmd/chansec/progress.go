package main

import (
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

// patience is how long something takes before there is a bar.
const patience = time.Second

// progress shows on a terminal how far something is that takes longer than patience.
type progress struct {
	done  atomic.Int64
	stop  chan struct{} // nil where there is no terminal
	ended chan struct{}
}

// progress begins a bar of so many bytes, or, for -1, one that only says that something goes on. End it.
func (p *program) progress(what string, total int64) *progress {
	b := &progress{}
	if _, ok := terminal(p.err); ok && p.env("TERM") != "dumb" {
		b.stop, b.ended = make(chan struct{}), make(chan struct{})
		go b.show(p.err, what, total)
	}
	return b
}

// show draws the bar, from when the patience is over until it ends.
func (b *progress) show(w io.Writer, what string, total int64) {
	defer close(b.ended)
	patient := time.NewTimer(patience)
	defer patient.Stop()
	select {
	case <-b.stop:
		return
	case <-patient.C:
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(total >= 0), progressbar.OptionSetWidth(30), progressbar.OptionSetSpinnerChangeInterval(0))
	ticks := time.NewTicker(200 * time.Millisecond)
	defer ticks.Stop()
	for {
		if total > 0 {
			_ = bar.Set64(min(b.done.Load(), total-1)) // it is full only when all is over
		} else {
			_ = bar.RenderBlank()
		}
		select {
		case <-b.stop:
			_ = bar.Clear()
			return
		case <-ticks.C:
		}
	}
}

func (b *progress) add(n int) { b.done.Add(int64(n)) }

func (b *progress) end() {
	if b.stop != nil {
		close(b.stop)
		<-b.ended
	}
}

// watchedFS tells a bar about everything that is read.
type watchedFS struct {
	fs.FS
	bar *progress
}

func (w watchedFS) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return watchedFile{f, w.bar}, nil
}

type watchedFile struct {
	fs.File
	bar *progress
}

func (w watchedFile) Read(b []byte) (int, error) {
	n, err := w.File.Read(b)
	w.bar.add(n)
	return n, err
}

// ReadDir is that of the file: a folder stays one.
func (w watchedFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if d, ok := w.File.(fs.ReadDirFile); ok {
		return d.ReadDir(n)
	}
	return nil, fs.ErrInvalid
}

// folderBytes returns how large the files of a folder are together.
func folderBytes(dir string) int64 {
	var total int64
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
	}
	return total
}
