//go:build !unix

package pgtest

import "os/exec"

func as(*exec.Cmd) {}

func alone(*exec.Cmd) {}

func give(string) error { return nil }
