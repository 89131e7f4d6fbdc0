package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// A trail that nothing is done without.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "trail")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	trail, err := audit.OpenFile(audit.FileConfig{Dir: dir, Chain: true})
	if err != nil {
		log.Fatal(err)
	}
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("sensor-1"))
	if err != nil {
		log.Fatal(err)
	}
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(acl), chansec.WithRequiredAudit(audit.Decisions(trail)))
	if err != nil {
		log.Fatal(err)
	}
	if err := readings.Start(ctx); err != nil {
		log.Fatal(err)
	}
	_, err = readings.As("sensor-1").Write(ctx, 21.5)
	fmt.Println("sensor-1:", err)
	_, err = readings.As("mallory").Write(ctx, 99)
	fmt.Println("mallory:", err)

	for r, err := range trail.Records(ctx, audit.Filter{Outcomes: []chansec.Outcome{chansec.Denied}}) {
		fmt.Println(r.Seq, r.Principal, r.Operation, r.Target, r.Outcome, err)
	}
	if err := trail.Close(); err != nil {
		log.Fatal(err)
	}
	_, err = readings.As("sensor-1").Write(ctx, 21.6)
	fmt.Println("without a trail:", errors.Is(err, chansec.ErrAudit))
	// Output:
	// sensor-1: <nil>
	// mallory: chansec: permission denied: "mallory" may not write on "readings": not listed
	// 2 mallory write readings denied <nil>
	// without a trail: true
}

// Somebody edits the trail.
func ExampleVerify() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "trail")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	trail, err := audit.OpenFile(audit.FileConfig{Dir: dir, Key: []byte("a key of thirty-two bytes or more")})
	if err != nil {
		log.Fatal(err)
	}
	for _, who := range []string{"alice", "mallory", "bob"} {
		err := trail.Record(ctx, audit.Record{Time: time.Now(), Kind: audit.KindSession, Operation: audit.OpLogin, Outcome: chansec.Allowed, Principal: who})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := trail.Close(); err != nil {
		log.Fatal(err)
	}
	anchor := trail.Head() // to be kept somewhere else
	seen, err := audit.Verify(ctx, dir, audit.VerifyConfig{Key: []byte("a key of thirty-two bytes or more"), Anchor: &anchor})
	fmt.Println(seen.Records, "records:", err)

	name := filepath.Join(dir, "00000000000000000001.jsonl")
	text, err := os.ReadFile(name)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), "mallory", "nobody", 1)), 0o600); err != nil {
		log.Fatal(err)
	}
	_, err = audit.Verify(ctx, dir, audit.VerifyConfig{Key: []byte("a key of thirty-two bytes or more"), Anchor: &anchor})
	fmt.Println(err)
	// Output:
	// 3 records: <nil>
	// audit: 00000000000000000001.jsonl: line 3: the hash does not follow from this line and the one before
}

// The JSON form of a record is what a File writes, and what other stores may keep.
func ExampleRecord() {
	text, err := json.Marshal(audit.Record{Time: time.Date(2030, 1, 2, 3, 4, 5, 60_000, time.UTC), Kind: audit.KindSession, Operation: audit.OpLogin,
		Outcome: chansec.Denied, Principal: "alice", Remote: "192.0.2.7:4711", Reason: "wrong password",
		Votes: []audit.Vote{{Handler: "tokens", Answer: "abstain"}, {Handler: "passwords", Answer: "deny", Took: 80 * time.Millisecond}}})
	fmt.Println(string(text), err)
	// Output:
	// {"time":"2030-01-02T03:04:05.00006Z","kind":"session","principal":"alice","remote":"192.0.2.7:4711","operation":"login","outcome":"denied","reason":"wrong password","votes":[{"handler":"tokens","answer":"abstain"},{"handler":"passwords","answer":"deny","took_ns":80000000}]} <nil>
}

// Counters are published under a name of one's choice, or told to a library for metrics by another Meter.
func ExampleCounters() {
	counters := audit.NewCounters()
	sink := audit.Decisions(audit.Measure(counters))
	for range 2 {
		err := sink.Record(context.Background(), chansec.Event{Operation: chansec.OpWrite, Outcome: chansec.Denied, Reason: "not listed", Latency: 300})
		if err != nil {
			log.Fatal(err)
		}
	}
	for _, c := range counters.Counts() {
		fmt.Println(c.Operation, c.Outcome, c.Reason, c.Count)
	}
	// Output:
	// write denied not listed 2
}
