package pgtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// The environment.
const (
	requiredEnv = "CHANSEC_POSTGRES_REQUIRED"
	fsyncEnv    = "CHANSEC_POSTGRES_FSYNC"
)

// Database returns the URL of an empty database, which is dropped when the test ends. All tests of a process share one
// server, which the first one starts.
func Database(t testing.TB) string {
	t.Helper()
	s, err := shared()
	check(t, err)
	return s.Database(t)
}

var shared = sync.OnceValues(start)

// Server is a server of its own, for tests that stop it.
type Server struct {
	bin, dir string
	password string
	port     int
	keeper   io.Closer // ends the server and removes its folder
}

// New returns a running server, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	check(t, err)
	t.Cleanup(func() { _ = s.keeper.Close() })
	return s
}

// Database returns the URL of an empty database, which is dropped when the test ends, if the server runs then.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := "test_" + strconv.FormatUint(databases.Add(1), 10)
	if err := s.run("createdb", s.client(name)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.run("dropdb", s.client("--force", "--if-exists", name)...) })
	u := url.URL{Scheme: "postgres", User: url.UserPassword(superuser, s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: name, RawQuery: "sslmode=disable"}
	return u.String()
}

var databases atomic.Uint64

// Stop stops the server: at once, so that what it has not made durable is lost, as in a crash, or in good order.
func (s *Server) Stop(t testing.TB, crash bool) {
	t.Helper()
	mode := "fast"
	if crash {
		mode = "immediate"
	}
	if err := s.run("pg_ctl", "stop", "-w", "-D", s.data(), "-m", mode); err != nil {
		t.Fatal(err)
	}
}

// Start starts a server that was stopped, on its old port.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.listen(); err != nil {
		t.Fatal(err)
	}
}

const superuser = "postgres"

var errMissing = errors.New("pgtest: no PostgreSQL is installed, neither in the PATH nor in /usr/lib/postgresql")

func check(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errMissing) && os.Getenv(requiredEnv) != "1":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// start makes a server and waits for it.
func start() (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	s := &Server{bin: bin, dir: dir, password: rand.Text()}
	if err = s.keep(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if err = s.initialize(); err == nil {
		err = s.listenSomewhere()
	}
	if err != nil {
		_ = s.keeper.Close()
		return nil, err
	}
	return s, nil
}

// find returns the folder of the server's programs.
func find() (string, error) {
	var candidates []string
	if name, err := exec.LookPath("initdb"); err == nil {
		if name, err = filepath.EvalSymlinks(name); err == nil {
			candidates = append(candidates, filepath.Dir(name))
		}
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(installed, func(x, y string) int { return version(y) - version(x) }) // the newest first
	for _, dir := range append(candidates, installed...) {
		if !slices.ContainsFunc([]string{"initdb", "pg_ctl", "postgres", "createdb", "dropdb"}, func(name string) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err != nil
		}) {
			return dir, nil
		}
	}
	return "", errMissing
}

func version(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

// keep starts a shell that waits for the end of this process, of which it learns by the end of its input, however that came,
// and then cleans up.
func (s *Server) keep() error {
	if err := give(s.dir); err != nil {
		return err
	}
	cmd := s.command("sh", "-c", `read -r _; "$1/pg_ctl" stop -w -D "$2/data" -m immediate; rm -rf "$2"`, "sh", s.bin, s.dir)
	alone(cmd)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	s.keeper = &keeper{in: in, cmd: cmd}
	return nil
}

type keeper struct {
	once sync.Once
	in   io.Closer
	cmd  *exec.Cmd
}

// Close waits until the server is gone.
func (k *keeper) Close() error {
	k.once.Do(func() {
		_ = k.in.Close()
		_ = k.cmd.Wait()
	})
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) initialize() error {
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(s.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	if err := give(secret); err != nil {
		return err
	}
	return s.run("initdb", "-D", s.data(), "-U", superuser, "--pwfile", secret, "--auth-local", "trust", "--auth-host", "scram-sha-256",
		"-E", "UTF8", "--no-locale", "--no-sync")
}

// listenSomewhere starts the server on a port that nobody else takes in the meantime.
func (s *Server) listenSomewhere() (err error) {
	for range 5 {
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
		s.port = l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if err = s.listen(); err == nil {
			return nil
		}
	}
	return err
}

func (s *Server) listen() error {
	options := fmt.Sprintf("-c port=%d -c listen_addresses=127.0.0.1 -c unix_socket_directories='%s'", s.port, s.dir)
	if os.Getenv(fsyncEnv) == "off" {
		options += " -c fsync=off"
	}
	log := filepath.Join(s.dir, "log")
	err := s.run("pg_ctl", "start", "-w", "-D", s.data(), "-l", log, "-o", options)
	if err != nil {
		text, _ := os.ReadFile(log)
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// client returns the arguments of a client program.
func (s *Server) client(args ...string) []string {
	return append([]string{"-h", s.dir, "-p", strconv.Itoa(s.port), "-U", superuser}, args...)
}

// run runs one of the server's programs to its end.
func (s *Server) run(name string, args ...string) error {
	cmd := s.command(filepath.Join(s.bin, name), args...)
	// A file, because the server inherits it, and a pipe would be waited for until the server ends.
	out, err := os.CreateTemp(s.dir, "out")
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer func() { _ = errors.Join(out.Close(), os.Remove(out.Name())) }()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("pgtest: %s: %w\n%s", name, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// command is one that runs as who may run a server.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PG") })
	as(cmd)
	return cmd
}
