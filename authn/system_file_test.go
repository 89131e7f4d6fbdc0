package authn

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

var weakConfig = SystemConfig{Iterations: testIterations, AllowWeak: true}

func openSystem(t *testing.T, path string) *SystemStore {
	s, err := OpenSystemStore(t.Context(), weakConfig, path)
	require.NoError(t, err)
	return s
}

func rightPassword(t *testing.T, s *SystemStore, principal, password string) bool {
	r, err := s.Authenticate(context.Background(), &Request{Principal: principal, Credentials: []byte(password)})
	require.NoError(t, err)
	return r.Answer == Allow
}

func textOf(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func overwrite(t *testing.T, path, text string) {
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// private checks that a folder holds the file, for its owner alone, and nothing else.
func private(t *testing.T, path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

const filled = `add principal 'ann' 'pw' ['B' 'A'] locked by 'zoe'
add principal 'it\'s' 'p\\w'
allow anonymous connections ['GUEST']
trust client proposed property 'T' if value in ['b' 'a']
trust client proposed property 'R' if value matches '\\d+'`

func TestAFileThatIsMissingIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "system")
	s := openSystem(t, path)
	require.Zero(t, s.Version())
	require.Equal(t, []string{"deny anonymous connections", ""}, strings.Split(textOf(t, path), "\n")[1:])
	private(t, path)
	_, err := OpenSystemStore(t.Context(), weakConfig, filepath.Join(path, "no folder", "system"))
	require.Error(t, err)
}

func TestAFileIsTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "system")
	s := openSystem(t, path)
	require.NoError(t, s.UpdateScript(t.Context(), Root(), filled))
	private(t, path)
	text := textOf(t, path)
	require.NotContains(t, text, "'pw'")
	require.Regexp(t, `^# system authentication store, revision 1, sha256 [0-9a-f]{64}
allow anonymous connections \['GUEST'\]
add principal 'ann' '\$pbkdf2-sha256\$i=10\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+' \['A' 'B'\] locked by 'zoe'
add principal 'it\\'s' '\$pbkdf2-sha256\$i=10\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+'
trust client proposed property 'R' if value matches '\\\\d\+'
trust client proposed property 'T' if value in \['a' 'b'\]
$`, text)
	again := openSystem(t, path)
	require.Equal(t, s.current.Load().script(), again.current.Load().script())
	require.EqualValues(t, 1, again.Version())
	require.Equal(t, text, textOf(t, path), "what was not edited is not written")
	require.True(t, rightPassword(t, again, "ann", "pw"))
	require.True(t, rightPassword(t, again, "it's", `p\w`))
	require.False(t, rightPassword(t, again, "ann", "pw2"))
}

func TestClearTextInAFileIsReplacedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "system")
	require.NoError(t, os.WriteFile(path, []byte("# by hand\r\nadd principal \"ann\" \"hunter2\"\r\n\r\nABSTAIN anonymous connections"), 0o644))
	s := openSystem(t, path)
	require.True(t, rightPassword(t, s, "ann", "hunter2"))
	require.EqualValues(t, 1, s.Version())
	require.NotContains(t, textOf(t, path), "hunter2")
	private(t, path)
	hash := s.current.Load().principals["ann"].password.write()
	require.Equal(t, hash, openSystem(t, path).current.Load().principals["ann"].password.write(), "only once")

	// A hash may be copied to another file.
	other := filepath.Join(t.TempDir(), "system")
	overwrite(t, other, "add principal 'bob' '"+hash+"'\nadd principal 'carl' '$notahash'")
	s = openSystem(t, other)
	require.True(t, rightPassword(t, s, "bob", "hunter2"))
	require.False(t, rightPassword(t, s, "bob", hash))
	require.True(t, rightPassword(t, s, "carl", "$notahash"))
}

func TestAFileOthersCanReadIsMadePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "system")
	require.NoError(t, openSystem(t, path).UpdateScript(t.Context(), Root(), filled))
	require.NoError(t, os.Chmod(path, 0o644))
	require.EqualValues(t, 1, openSystem(t, path).Version())
	private(t, path)
}

func TestALinkStaysALink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(t.TempDir(), "system"), filepath.Join(dir, "link")
	overwrite(t, target, "add principal 'ann' 'hunter2'")
	require.NoError(t, os.Symlink(target, link))
	openSystem(t, link)
	require.NotContains(t, textOf(t, target), "hunter2")
	private(t, target)
}

func TestFilesThatAreWrongAreRefusedWithLineAndColumn(t *testing.T) {
	hash := func(p *Password, err error) string { require.NoError(t, err); return p.write() }
	ours := hash(newPassword("hunter2", testIterations))
	strict := weakConfig
	strict.Iterations, strict.AllowWeak = 0, false
	for _, tt := range []struct {
		name, text   string
		config       SystemConfig
		kind         Kind
		line, column int
	}{
		{"no script", "deny anonymous connections\n  hello", weakConfig, Syntax, 2, 3},
		{"a principal who is there twice", "add principal 'a' 'hunter2'\nadd principal 'a' 'hunter2'", weakConfig, PrincipalExists, 2, 1},
		{"a damaged hash", "add principal 'a' '" + ours[:len(ours)-1] + "'", weakConfig, InvalidArgument, 1, 1},
		{"a hash of another method", "\nadd principal 'a' '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$hunter2'", weakConfig, InvalidArgument, 2, 1},
		{"a hash of bcrypt", "add principal 'a' '$2b$12$hunter2hunter2hunter2'", weakConfig, InvalidArgument, 1, 1},
		{"a weak hash where strong ones are wanted", "add principal 'a' '" + ours + "'", strict, InvalidArgument, 1, 1},
		{"a hash that nobody can afford", "add principal 'a' '" + strings.Replace(ours, "i=10", "i=999999999", 1) + "'", weakConfig, InvalidArgument, 1, 1},
		{"bytes that are no text", "deny anonymous connections\n\x00\xff", weakConfig, Syntax, 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "system")
			overwrite(t, path, tt.text)
			s, err := OpenSystemStore(t.Context(), tt.config, path)
			require.Nil(t, s)
			require.ErrorIs(t, err, tt.kind)
			e, ok := errors.AsType[*ScriptError](err)
			require.True(t, ok)
			require.Equal(t, []int{tt.line, tt.column}, []int{e.Reports[0].Line, e.Reports[0].Column}, err)
			require.ErrorContains(t, err, path)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), ours[30:])
			require.Equal(t, tt.text, textOf(t, path), "it stays for whoever repairs it")
		})
	}
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	for _, path := range []string{dir, fifo} {
		_, err := OpenSystemStore(t.Context(), weakConfig, path)
		require.ErrorIs(t, err, InvalidArgument)
	}
	huge := filepath.Join(dir, "huge")
	f, err := os.Create(huge)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(maxSystemFileBytes+1))
	require.NoError(t, f.Close())
	_, err = OpenSystemStore(t.Context(), weakConfig, huge)
	require.ErrorIs(t, err, Limit)
}

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "system")
	s := openSystem(t, path)
	require.NoError(t, s.UpdateScript(t.Context(), Root(), filled))
	require.NoError(t, s.Reload(t.Context()))
	require.EqualValues(t, 1, s.Version(), "nobody edited it")
	good := textOf(t, path)

	overwrite(t, path, good+"add principal 'bob' hunter2")
	err := s.Reload(t.Context())
	require.ErrorIs(t, err, Syntax)
	require.True(t, rightPassword(t, s, "ann", "pw"), "what was good stays in force")
	require.ErrorIs(t, s.UpdateScript(t.Context(), Root(), "deny anonymous connections"), Conflict, "what somebody wrote is not lost")

	overwrite(t, path, good+"add principal 'bob' 'hunter2'")
	require.ErrorIs(t, s.UpdateScript(t.Context(), Root(), "deny anonymous connections"), Conflict)
	require.NoError(t, s.Reload(t.Context()))
	require.True(t, rightPassword(t, s, "bob", "hunter2"))
	require.EqualValues(t, 2, s.Version())
	require.NotContains(t, textOf(t, path), "hunter2")
	require.NoError(t, s.UpdateScript(t.Context(), Root(), "deny anonymous connections"))
	require.EqualValues(t, 3, s.Version())

	overwrite(t, path, good) // an old copy
	require.NoError(t, s.Reload(t.Context()))
	require.False(t, rightPassword(t, s, "bob", "hunter2"))
	require.EqualValues(t, 4, s.Version(), "a revision never comes back")
	require.Contains(t, textOf(t, path), "revision 4,")

	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, s.Reload(t.Context()), os.ErrNotExist)
	require.ErrorIs(t, s.UpdateScript(t.Context(), Root(), "remove principal 'ann'"), os.ErrNotExist)
	require.True(t, rightPassword(t, s, "ann", "pw"), "a file that is gone takes nobody with it")

	memory, err := NewSystemStore(weakConfig)
	require.NoError(t, err)
	require.NoError(t, memory.Reload(t.Context()))
}

var errCrash = errors.New("crash")

// crashing makes the n-th step of writing from now on, and every one after it, not happen.
func crashing(s *SystemStore, n int) (steps *int) {
	steps = new(int)
	s.file.folder.Fault = func(string) error {
		if *steps++; *steps >= n {
			return errCrash
		}
		return nil
	}
	return steps
}

// After a failure at any step there is the old store or the new one, and the new one if it was acknowledged; and the store
// goes on, in this process and in the next.
func TestFailuresLeaveTheOldOrTheNewStore(t *testing.T) {
	for n, done := 1, false; !done; n++ {
		path := filepath.Join(t.TempDir(), "system")
		s := openSystem(t, path)
		require.NoError(t, s.UpdateScript(t.Context(), Root(), "add principal 'old' 'pw'"))
		before := s.current.Load()
		steps := crashing(s, n)
		err := s.UpdateScript(t.Context(), Root(), "remove principal 'old'\nadd principal 'new' 'pw'")
		done = *steps < n
		require.Equal(t, done, err == nil, "step %d", n)
		if err != nil {
			require.ErrorIs(t, err, errCrash)
			require.Same(t, before, s.current.Load(), "what was not acknowledged is not in force")
		}

		after := openSystem(t, path)
		isNew := rightPassword(t, after, "new", "pw")
		require.NotEqual(t, isNew, rightPassword(t, after, "old", "pw"), "step %d", n)
		if done {
			require.True(t, isNew)
		}
		private(t, path)

		s.file.folder.Fault = nil
		require.NoError(t, s.UpdateScript(t.Context(), Root(), "add principal 'more' 'pw'"))
		require.Equal(t, isNew, rightPassword(t, s, "new", "pw"), "the file counts")
		require.Equal(t, s.current.Load().script(), openSystem(t, path).current.Load().script())
		require.Equal(t, s.Version(), openSystem(t, path).Version())
	}
}

// Clear text that cannot be replaced is not taken, and is there to be taken later.
func TestFailuresKeepWhatSomebodyEdited(t *testing.T) {
	for n, done := 1, false; !done; n++ {
		path := filepath.Join(t.TempDir(), "system")
		s := openSystem(t, path)
		overwrite(t, path, "add principal 'ann' 'hunter2'")
		steps := crashing(s, n)
		err := s.Reload(t.Context())
		done = *steps < n
		require.Equal(t, done, err == nil, "step %d", n)
		require.Equal(t, done, rightPassword(t, s, "ann", "hunter2"))
		s.file.folder.Fault = nil
		switch err := s.UpdateScript(t.Context(), Root(), "add principal 'bob' 'pw'"); {
		case errors.Is(err, Conflict):
			require.NoError(t, s.Reload(t.Context()))
		default:
			require.NoError(t, err)
		}
		require.True(t, rightPassword(t, s, "ann", "hunter2"), "step %d", n)
		require.NotContains(t, textOf(t, path), "hunter2")
	}
}

func TestWhatACrashLeftOfAFileIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "system")
	overwrite(t, filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".123.draft"), "add principal 'ann' 'hu")
	openSystem(t, path)
	private(t, path)
}

func TestLoginsTakeTheWorkOfTheCostliestHash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "system")
	h, err := newPassword("pw", 5*testIterations)
	require.NoError(t, err)
	overwrite(t, path, "add principal 'ann' '"+h.write()+"'\nadd principal 'bob' 'pw'")
	s := openSystem(t, path)
	require.Equal(t, work{ours: 5 * testIterations}, s.current.Load().work)
	require.True(t, rightPassword(t, s, "ann", "pw") && rightPassword(t, s, "bob", "pw"))
	require.NoError(t, s.UpdateScript(t.Context(), Root(), "remove principal 'ann'"))
	require.Equal(t, work{ours: testIterations}, s.current.Load().work)
}

// A password that is changed while a login hashes it counts as it is then.
func TestALoginThatWasOvertakenIsDoneAgain(t *testing.T) {
	for script, want := range map[string]Answer{
		"set password 'ann' 'other'":                          Deny,
		"set password 'ann' 'pw'":                             Allow,
		"remove principal 'ann'\nadd principal 'ann' 'other'": Deny,
		"remove principal 'ann'":                              Abstain,
		"assign roles 'ann' ['NEW']":                          Allow,
	} {
		synctest.Test(t, func(t *testing.T) {
			s, err := NewSystemStore(weakConfig)
			require.NoError(t, err)
			require.NoError(t, s.UpdateScript(t.Context(), Root(), "add principal 'ann' 'pw' ['OLD']"))
			for range cap(s.hashing.cores) {
				s.hashing.cores <- struct{}{} // nobody can hash
			}
			var r Response
			var login sync.WaitGroup
			login.Go(func() { r, _ = s.Authenticate(t.Context(), &Request{Principal: "ann", Credentials: []byte("pw")}) })
			synctest.Wait()
			// The change is made elsewhere, since it cannot hash here either.
			other, err := NewSystemStore(weakConfig)
			require.NoError(t, err)
			other.current.Store(s.current.Load())
			require.NoError(t, other.UpdateScript(t.Context(), Root(), script))
			s.current.Store(other.current.Load())
			for range cap(s.hashing.cores) {
				<-s.hashing.cores
			}
			login.Wait()
			require.Equal(t, want, r.Answer, script)
			if strings.HasPrefix(script, "assign") {
				require.Equal(t, []string{"NEW"}, r.Roles)
			}
		})
	}
}
