package authn

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/strictjson"
)

// FileConfig says how a password file is read. Its zero value does.
type FileConfig struct {
	PasswordConfig

	// ClearText takes passwords that are stored as they are, where the file does not say how they were hashed.
	ClearText bool

	Poll time.Duration // how often the file is looked at for changes; 0 is DefaultPoll, negative is never

	// Reloaded is told, by the goroutine that looked, of every change of the file: nil where it came into force, which is
	// the time to Clear a Cache, and otherwise the FileError for which the users before remain. It must not wait for Close.
	Reloaded func(error)
}

// Bounds of a password file, and the default of FileConfig.
const (
	DefaultPoll  = 5 * time.Second
	MaxFileBytes = 16 << 20
	MaxFileUsers = 100_000
)

// File is a handler for users in a file (valve.md 15.2), which is one JSON object:
//
//	{"users": {
//		"alice": {"password": "$pbkdf2-sha256$i=600000$...", "roles": ["TRADER"],
//			"clientData": {"theme": "dark"}, "serverData": {"team": "fx"}},
//		"bob": {"password": "$pbkdf2-sha256$i=600000$..."}
//	}}
//
// HashPassword makes the passwords. Everything but the password may be missing; roles that are there, if only an empty
// list, replace the default ones. Beside "users" there may be deepstream's settings "hash", "iterations" and "keyLength":
// passwords without our mark are then read as DeepstreamHash. Its "reportInvalidParameters" is RefuseIncomplete if it is
// true, and PassOn if it is false.
//
// The file is read again when it changes. A file that is not in order changes nothing. Every login takes as long as that
// of the user whose hash costs most, whoever it is.
//
// It may be used from many goroutines at once; logins take no lock but the turn to hash.
type File struct {
	path    string
	config  FileConfig
	hashing *hashing
	current atomic.Pointer[fileUsers]

	mu   sync.Mutex // of reading the file
	seen seen

	stop   context.CancelFunc
	closed sync.WaitGroup
}

// seen is what the file was when it was read last.
type seen struct {
	info fs.FileInfo
	at   time.Time
	sum  [sha256.Size]byte
	err  error
}

// fileUsers is what a file says. It is never changed.
type fileUsers struct {
	users  map[string]*User
	work   work
	config PasswordConfig
	weak   []Weakness
}

// FileError says where a password file is not in order. It holds no passwords.
type FileError struct {
	Path         string
	Line, Column int    // from 1; 0 where the file could not be read
	Where        string // such as: user "alice": password
	Err          error  // what is wrong: a chansec.InvalidError, or why it could not be read
}

func (e *FileError) Error() string {
	text := "authn: " + e.Path
	if e.Line > 0 {
		text += ":" + strconv.Itoa(e.Line) + ":" + strconv.Itoa(e.Column)
	}
	if e.Where != "" {
		text += ": " + e.Where
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *FileError) Unwrap() error { return e.Err }

// Weakness is a password that is not stored well enough.
type Weakness struct {
	User    string
	Problem string
}

// OpenFile reads a password file, or returns a FileError, or a chansec.InvalidError of the config. It looks for changes
// until Close.
func OpenFile(path string, config FileConfig) (*File, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	setDefault(&config.Poll, DefaultPoll)
	f := &File{path: path, config: config, hashing: newHashing(config.Hashing, config.Queue), stop: func() {}}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	if config.Poll > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		f.stop = cancel
		f.closed.Go(func() { f.watch(ctx) })
	}
	return f, nil
}

// Format writes where the file is, and nothing of what is in it.
func (f *File) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "authn.File(%q)", f.path) }

// Close ends the looking for changes, and waits for its end. The users stay. It never fails.
func (f *File) Close() error {
	f.stop()
	f.closed.Wait()
	return nil
}

func (f *File) watch(ctx context.Context) {
	tick := time.NewTicker(f.config.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if changed, err := f.read(); changed && f.config.Reloaded != nil {
			f.config.Reloaded(err)
		}
	}
}

// Reload reads the file now. After a FileError, the users that were there before remain.
func (f *File) Reload() error {
	_, err := f.read()
	return err
}

// read reads the file, if it changed since it was read, and tells whether it did, or could not be read any more.
func (f *File) read() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, now, err := f.text()
	if err != nil {
		changed = f.seen.err == nil || f.seen.err.Error() != err.Error()
		f.seen = seen{err: err}
		return changed, err
	}
	if text == nil || now.sum == f.seen.sum && f.seen.info != nil {
		if text != nil {
			now.err = f.seen.err
			f.seen = now
		}
		return false, f.seen.err
	}
	users, err := parseFile(string(text), f.config)
	if err != nil {
		err.(*FileError).Path = f.path
	} else {
		f.current.Store(users)
	}
	now.err = err
	f.seen = now
	return true, err
}

// text returns what is in the file, or nil if it is surely what was there before.
func (f *File) text() ([]byte, seen, error) {
	now := seen{at: time.Now()}
	wrong := func(err error) ([]byte, seen, error) { return nil, now, &FileError{Path: f.path, Err: err} }
	info, err := os.Stat(f.path)
	if err != nil {
		return wrong(pathless(err))
	}
	if !info.Mode().IsRegular() {
		return wrong(errors.New("it is not a regular file"))
	}
	// A file may be written twice within one tick of its clock, so that of what was written lately nothing is sure.
	const tick = 2 * time.Second
	if old := f.seen.info; old != nil && os.SameFile(old, info) && old.Size() == info.Size() && old.ModTime().Equal(info.ModTime()) &&
		info.ModTime().Add(tick).Before(f.seen.at) {
		return nil, now, nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return wrong(pathless(err))
	}
	defer file.Close()
	if now.info, err = file.Stat(); err != nil {
		return wrong(pathless(err))
	}
	text, err := io.ReadAll(io.LimitReader(file, MaxFileBytes+1))
	switch {
	case err != nil:
		return wrong(pathless(err))
	case len(text) > MaxFileBytes:
		return wrong(invalid("password file", "too long", "at most 16 MiB"))
	}
	now.sum = sha256.Sum256(text)
	return text, now, nil
}

// pathless is an error without the path, which FileError has.
func pathless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Authenticate compares the password of a user.
func (f *File) Authenticate(ctx context.Context, r *Request) (Response, error) {
	now := f.current.Load()
	if answer, incomplete := now.config.incomplete(r); incomplete {
		return answer, nil
	}
	user, found := now.users[r.Principal]
	if !found {
		user = &User{}
	}
	return now.config.compare(ctx, f.hashing, now.work, r, user, found)
}

// Weaknesses returns what is wrong with how the passwords are stored, by the name of the user.
func (f *File) Weaknesses() []Weakness { return slices.Clone(f.current.Load().weak) }

// parser reads a password file.
type parser struct {
	text   string
	config FileConfig
	legacy *DeepstreamHash // nil: the file does not say
	now    *fileUsers
}

// field is a value in the file, and the bytes before it.
type field struct {
	strictjson.Value
	at int
}

func (f field) given() bool { return f.Kind() != strictjson.KindNone }

// parseFile reads a password file, or returns a FileError without the path.
func parseFile(text string, config FileConfig) (*fileUsers, error) {
	p := &parser{text: text, config: config}
	p.now = &fileUsers{users: map[string]*User{}, work: work{}, config: config.PasswordConfig}
	var top [5]field
	if err := p.fields("", 0, len(text), top[:], "users", "hash", "iterations", "keyLength", "reportInvalidParameters"); err != nil {
		return nil, err
	}
	if err := p.settings(top[1], top[2], top[3], top[4]); err != nil {
		return nil, err
	}
	users := top[0]
	all, err := strictjson.Object(users.Raw(), nil, fileLimits)
	if err != nil || len(all) == 0 || len(all) > MaxFileUsers {
		return nil, p.wrong("users", users, "1 to 100000 users, each a name and an object")
	}
	at := users.at + 1
	for _, u := range all {
		at = p.value(at)
		if err := p.user(u.Name, field{u.Value, at}); err != nil {
			return nil, err
		}
		at += len(u.Value.Raw())
	}
	slices.SortFunc(p.now.weak, func(a, b Weakness) int { return strings.Compare(a.User, b.User) })
	return p.now, nil
}

var fileLimits = strictjson.Limits{Items: MaxFileUsers + 1}

// settings reads what deepstream says about all users.
func (p *parser) settings(hash, iterations, length, report field) error {
	name, isText := hash.Text()
	on, isBool := hash.Bool()
	if hash.given() && !hash.IsNull() && !isText && (!isBool || on) {
		return p.wrong("hash", hash, "the name of a hash, or false")
	}
	if name != "" {
		n, ok := iterations.Int64()
		if !ok || n < 1 || n > MaxIterations {
			return p.wrong("iterations", iterations, "a number from 1 to 6000000")
		}
		bytes, ok := length.Int64()
		if !ok || bytes < 1 || bytes > maxKeyLength {
			return p.wrong("keyLength", length, "a number from 1 to 1024")
		}
		p.legacy = &DeepstreamHash{name, int(n), int(bytes)}
		if err := p.legacy.check(); err != nil {
			return p.fail(hash.at, "hash", err)
		}
	}
	if report.given() && !report.IsNull() {
		refuse, ok := report.Bool()
		if !ok {
			return p.wrong("reportInvalidParameters", report, "true or false")
		}
		p.now.config.RefuseIncomplete, p.now.config.PassOn = refuse, !refuse
	}
	return nil
}

// user reads one user.
func (p *parser) user(name string, value field) error {
	where := "user " + strconv.Quote(shorten(name))
	if err := chansec.CheckSystemID(name); err != nil {
		return p.fail(value.at, where, err)
	}
	var fields [4]field
	if err := p.fields(where, value.at, len(value.Raw()), fields[:], "password", "roles", "clientData", "serverData"); err != nil {
		return err
	}
	password, roles, clientData, serverData := fields[0], fields[1], fields[2], fields[3]
	u := &User{}
	text, ok := password.Text()
	if !ok {
		return p.wrong(where+": password", password, "a string")
	}
	var err error
	if u.Password, err = p.password(text); err != nil {
		return p.fail(password.at, where+": password", err)
	}
	if roles.given() {
		if u.Roles, ok = roles.Strings(maxRoles); !ok || slices.Contains(u.Roles, "") {
			return p.wrong(where+": roles", roles, "an array of at most 1024 names")
		}
	}
	if clientData.given() {
		if err := json.Unmarshal([]byte(clientData.Raw()), &u.ClientData); err != nil {
			return p.wrong(where+": clientData", clientData, "a JSON value")
		}
	}
	switch serverData.Raw() {
	case "", "null", "false", "0", `""`: // which deepstream takes for nothing
	default:
		if serverData.Kind() != strictjson.KindObject || json.Unmarshal([]byte(serverData.Raw()), &u.ServerData) != nil {
			return p.wrong(where+": serverData", serverData, "an object")
		}
	}
	p.now.work.include(&u.Password)
	p.now.users[name] = u
	if problem := u.Password.weakness(); problem != "" {
		p.now.weak = append(p.now.weak, Weakness{name, problem})
	}
	return nil
}

// password reads what is stored of one.
func (p *parser) password(text string) (Password, error) {
	switch {
	case strings.HasPrefix(text, pbkdf2Mark):
		return ParsePassword(text)
	case p.legacy != nil:
		return p.legacy.ParsePassword(text)
	case p.config.ClearText:
		return clearPassword(text), nil
	}
	return Password{}, invalid("password hash", "", `what HashPassword makes; or "hash" in the file, or FileConfig.ClearText`)
}

// fields reads the object at a place, which may have these members and no others.
func (p *parser) fields(where string, at, length int, fields []field, names ...string) error {
	all, err := strictjson.Object(p.text[at:at+length], nil, fileLimits)
	if e, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return p.fail(at+e.Offset, where, err)
	}
	for i := range fields {
		fields[i].at = at // of those that are missing
	}
	if len(all) > 0 {
		at += strings.IndexByte(p.text[at:], '{') + 1
	}
	for _, m := range all {
		at = p.value(at)
		i := slices.Index(names, m.Name)
		if i < 0 {
			return p.fail(at, where, invalid("member", m.Name, strings.Join(names, ", ")))
		}
		fields[i] = field{m.Value, at}
		at += len(m.Value.Raw())
	}
	return nil
}

// value returns where the value of the next member is, in an object that is known to be in order.
func (p *parser) value(at int) int {
	at += strings.IndexByte(p.text[at:], '"') + 1
	for ; p.text[at] != '"'; at++ {
		if p.text[at] == '\\' {
			at++
		}
	}
	at++
	rest := strings.TrimLeft(p.text[at:], " \t\r\n:")
	return len(p.text) - len(rest)
}

func (p *parser) wrong(where string, f field, want string) error {
	return p.fail(f.at, where, invalid("value", "", want))
}

// fail makes an error at an offset.
func (p *parser) fail(offset int, where string, err error) error {
	before := p.text[:min(offset, len(p.text))]
	return &FileError{Line: 1 + strings.Count(before, "\n"), Column: len(before) - strings.LastIndexByte(before, '\n'), Where: where, Err: err}
}
