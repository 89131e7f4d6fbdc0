package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxSecretBytes bounds what may be a secret.
const maxSecretBytes = 4096

// terminal returns the terminal that a stream is, if it is one.
func terminal(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	return int(f.Fd()), term.IsTerminal(int(f.Fd()))
}

// secretSource says where a secret comes from, in this order: a file, a variable, the terminal.
type secretSource struct {
	what     string // for people
	file     string // its name, or "-"
	flag     string // that names the file
	variable string
	twice    bool // ask again, because nobody sees what they type
}

// secret returns a secret, which is never shown.
func (p *program) secret(ctx context.Context, s secretSource) (string, error) {
	if s.file != "" {
		text, err := p.readFile(ctx, s.file, maxSecretBytes)
		if wrong, ok := errors.AsType[*fs.PathError](err); ok { // its path may be the secret itself
			return "", fmt.Errorf("--%s: the file cannot be read: %w", s.flag, wrong.Err)
		}
		if err != nil {
			return "", err
		}
		return s.check(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
	}
	if text := p.env(s.variable); text != "" {
		return s.check(text)
	}
	fd, ok := terminal(p.in)
	if !ok {
		return "", misused(fmt.Sprintf("set %s, give a file by --%s, or run this on a terminal", s.variable, s.flag), "there is no %s", s.what)
	}
	text, err := p.typed(ctx, fd, s.what+": ")
	if err != nil || !s.twice {
		return s.check(text, err)
	}
	again, err := p.typed(ctx, fd, s.what+" again: ")
	if err == nil && again != text {
		return "", errors.New("the two are not the same; nothing was changed")
	}
	return s.check(text, err)
}

// check refuses what cannot be a secret. It takes the error that comes with the text, if any.
func (s secretSource) check(text string, errs ...error) (string, error) {
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	if text == "" || strings.ContainsAny(text, "\x00\r\n") {
		return "", misused("", "the %s is empty, or has more than one line", s.what)
	}
	return text, nil
}

// typed reads a line from a terminal that does not show it. When the context ends, the terminal is as it was before.
func (p *program) typed(ctx context.Context, fd int, prompt string) (string, error) {
	was, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(p.err, prompt)
	defer fmt.Fprintln(p.err)
	type line struct {
		text []byte
		err  error
	}
	done := make(chan line, 1)
	go func() { // a read of a terminal cannot be stopped: then the goroutine ends with the process
		text, err := term.ReadPassword(fd)
		done <- line{text, err}
	}()
	select {
	case l := <-done:
		if errors.Is(l.err, io.EOF) {
			l.err = errors.New("nothing was typed")
		}
		return string(l.text), l.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, was))
	}
}

// confirm asks whether to go on. Without a terminal the answer must have been given by --yes.
func (p *program) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if _, ok := terminal(p.in); !ok {
		return misused("say --yes if that is what you want", "%s Nobody can be asked here", question)
	}
	fmt.Fprint(p.err, question+" [y/N] ")
	answer := make(chan string, 1)
	go func() { // as in typed
		line, _ := bufio.NewReader(io.LimitReader(p.in, 1024)).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return errors.New("nothing was changed")
	case <-ctx.Done():
		fmt.Fprintln(p.err)
		return ctx.Err()
	}
}
