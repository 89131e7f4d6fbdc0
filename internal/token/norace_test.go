//go:build !race

package token

// raceEnabled says that the race detector is on.
const raceEnabled = false
