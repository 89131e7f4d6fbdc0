// Package chansectest is for those who write a chansec.ChannelSecurity, a chansec.RevocationBackend or a driver.Backend of
// their own: TestSecurity, TestRevocations and TestDriver check that it keeps every promise that its interface makes,
// BenchmarkDriver measures a backend, and Recorder is an audit sink that remembers. It imports nothing but the standard
// library and this module.
//
// Each promise is a rule, and each rule a subtest with a name of its own, so that one can be run alone (go test -run
// TestMine/revocation) and one that does not apply can be left out by Skip, with the reason. What a rule demands is
// printed when it is broken. Run the suites with the race detector: some rules look for races on purpose.
package chansectest
