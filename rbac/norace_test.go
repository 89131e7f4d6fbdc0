//go:build !race

package rbac_test

// raceEnabled says that the race detector is on.
const raceEnabled = false
