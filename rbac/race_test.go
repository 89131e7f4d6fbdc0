//go:build race

package rbac_test

// raceEnabled says that the race detector is on, under which sync.Pool drops some of what it is given.
const raceEnabled = true
