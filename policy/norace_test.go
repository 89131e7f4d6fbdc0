//go:build !race

package policy_test

// raceEnabled says that the race detector is on.
const raceEnabled = false
