// Package authn finds out who is calling: an ordered chain of handlers, each of which allows, denies or abstains
// (diffusion.md 9).
package authn
