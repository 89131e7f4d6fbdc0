//go:build race

package token

// raceEnabled says that the race detector is on, under which sync.Pool drops
// some of what it is given.
const raceEnabled = true
