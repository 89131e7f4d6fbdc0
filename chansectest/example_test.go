package chansectest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/chansectest"
	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/memory"
)

// opening lets everybody read and nobody write, and takes one password.
type opening struct {
	mu     sync.Mutex
	closed bool
}

func (s *opening) Authenticate(_ context.Context, token string) (chansec.Principal, error) {
	if token != "open sesame" {
		return chansec.Principal{}, chansec.ErrUnauthenticated
	}
	return chansec.Principal{SystemID: "visitor", Proof: "password"}, nil
}

func (s *opening) AuthorizeRead(_ context.Context, systemID, _ string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return systemID == "visitor" && !s.closed, nil
}

func (s *opening) AuthorizeWrite(context.Context, string, string) (bool, error) { return false, nil }
func (s *opening) AuthorizeAdmin(context.Context, string, string) (bool, error) { return false, nil }

func (s *opening) GenerateToken(context.Context, chansec.TokenRequest) (string, error) {
	return "", chansec.ErrNoSigner
}

func (s *opening) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// t is the argument of the test function around an example.
var t *testing.T

func TestExample(outer *testing.T) {
	t = outer
	ExampleTestSecurity()
}

// func TestMySecurity(t *testing.T) {
func ExampleTestSecurity() {
	may := []chansectest.Right{{ChannelID: "cave", Read: true}}
	chansectest.TestSecurity(t,
		func(*testing.T) chansec.ChannelSecurity { return new(opening) },
		chansectest.Expectations{
			Systems: []chansectest.System{{ID: "visitor", Rights: may}},
			Tokens: []chansectest.Token{
				{Name: "right", Make: chansectest.Text("open sesame"), SystemID: "visitor", Rights: may},
				{Name: "wrong", Make: chansectest.Text("open barley")}, // proves nobody: must be refused
			},
			Revocations: []chansectest.Revocation{
				{Name: "at closing time", System: "visitor", ChannelID: "cave", Role: chansec.RoleRead,
					Revoke: func(s chansec.ChannelSecurity) error { s.(*opening).close(); return nil }},
			},
		})
}

// func TestMyBackend(t *testing.T) {
func ExampleTestDriver() {
	chansectest.TestDriver(t, func(t *testing.T, cfg driver.Config) driver.Backend[[]byte] {
		b, err := memory.Open[[]byte](t.Context(), "channel", cfg) // or your own
		if err != nil {
			t.Fatal(err)
		}
		return b
	}, chansectest.ShortestClaim(50*time.Millisecond), chansectest.Skip("age", "the engine keeps entries for ever"))
}

// b is the argument of the benchmark function around an example.
var b *testing.B

func BenchmarkExample(outer *testing.B) {
	b = outer
	ExampleBenchmarkDriver()
}

// func BenchmarkMyBackend(b *testing.B) {
func ExampleBenchmarkDriver() {
	chansectest.BenchmarkDriver(b, func(b *testing.B, cfg driver.Config) driver.Backend[[]byte] {
		backend, err := memory.Open[[]byte](b.Context(), "channel", cfg) // or your own
		if err != nil {
			b.Fatal(err)
		}
		return backend
	})
}

func ExampleRecorder() {
	ctx := context.Background()
	acl, err := chansec.NewACLSecurity(chansec.ACLRead("dashboard"))
	if err != nil {
		panic(err)
	}
	var audit chansectest.Recorder
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(acl), chansec.WithAudit(&audit))
	if err != nil {
		panic(err)
	}
	defer readings.Close()
	_, _ = readings.As("dashboard").Read(ctx, 10)
	_, _ = readings.As("dashboard").Write(ctx, 21.5)
	for _, e := range audit.Events() {
		fmt.Println(e.SystemID, e.Operation, e.Outcome)
	}
	// Output:
	// dashboard read allowed
	// dashboard write denied
}
