package authn_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// planted is a secret with nothing in it that occurs by accident.
const planted = "Pl4nt3d-S3cr3t-7b1f"

// trap keeps everything that it is shown, in every form.
type trap struct {
	mu sync.Mutex
	bytes.Buffer
}

func (c *trap) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Buffer.Write(b)
}

func (c *trap) show(values ...any) {
	text, data := slog.New(slog.NewTextHandler(c, nil)), slog.New(slog.NewJSONHandler(c, nil))
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(c, verb+"\n", v)
		}
		text.Info("shown", "value", v)
		data.Info("shown", "value", v)
		b, err := json.Marshal(v)
		fmt.Fprintf(c, "%s %v\n", b, err)
		if err, ok := v.(error); ok {
			for ; err != nil; err = errors.Unwrap(err) {
				fmt.Fprintf(c, "%v %+v %#v\n", err, err, err)
			}
		}
	}
}

// forms is how a secret could be written.
func forms(secret string) []string {
	sum := sha256.Sum256([]byte(secret))
	list := []string{secret, strings.Trim(fmt.Sprint([]byte(secret)), "[]"), strings.Trim(fmt.Sprintf("%#v", []byte(secret)), "[]byte{}")}
	for _, raw := range [][]byte{[]byte(secret), sum[:]} {
		list = append(list, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), strings.Trim(fmt.Sprint(raw), "[]"),
			strings.TrimRight(base64.StdEncoding.EncodeToString(raw), "="), strings.TrimRight(base64.URLEncoding.EncodeToString(raw), "="))
	}
	return list
}

// TestNoSecretGetsOut does all that can be done with a planted password, a planted token and a planted hash, shows the
// trap everything that comes of it in every form, and looks for them there.
func TestNoSecretGetsOut(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var caught trap
	slog.SetDefault(slog.New(slog.NewTextHandler(&caught, nil)))

	hash := cheap(t, planted)
	parts := strings.Split(hash, "$")
	secrets := append(forms(planted), parts[3], parts[4])
	for _, part := range parts[3:] {
		raw, err := base64.RawStdEncoding.DecodeString(part)
		require.NoError(t, err)
		secrets = append(secrets, forms(string(raw))...)
	}
	text := `{"users": {"alice": {"password": "` + hash + `", "roles": ["A"]}}}`
	file, err := openText(t, text, authn.FileConfig{})
	require.NoError(t, err)
	plain, err := openText(t, `{"users": {"alice": {"password": "`+planted+`"}}}`, authn.FileConfig{ClearText: true})
	require.NoError(t, err)
	password, err := authn.ParsePassword(hash)
	require.NoError(t, err)
	user := authn.User{Principal: "alice", Password: password}
	users, err := authn.NewPasswords(table{"alice": user}, authn.UsersConfig{Iterations: 10, Create: true})
	require.NoError(t, err)
	caught.show(user, &user, password, &password, file, plain, users, file.Weaknesses(), plain.Weaknesses())

	gossip := authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
		return authn.Response{Answer: authn.Abstain, Reason: "not " + string(r.Credentials)}, nil
	})
	careless := authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
		return authn.Response{}, fmt.Errorf("cannot read %s: %w", r.Credentials, errBroken)
	})
	carelessly := authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
		return authn.Response{}, fmt.Errorf("cannot read %s: %w", r.Credentials, chansec.ErrUnauthenticated)
	})
	explodes := authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) { panic(string(r.Credentials)) })
	controls, err := authn.NewControls(everybodyMay, "control")
	require.NoError(t, err)
	defer controls.Close()
	_, err = controls.Register(registrant("session"), "control", careless)
	require.NoError(t, err)
	for name, h := range map[string]authn.Handler{
		"file": file, "plain": plain, "users": users, "none": authn.None(), "gossip": gossip, "careless": careless, "carelessly": carelessly,
		"explodes": explodes, "control": controls.Entry("control").Handler, "hangs": hangs,
	} {
		cache, err := authn.NewCache(h, authn.CacheConfig{Yes: time.Hour, No: time.Hour, Size: 8})
		require.NoError(t, err)
		composite, err := authn.NewComposite(authn.Entry{Name: name, Handler: cache})
		require.NoError(t, err)
		timeout := time.Minute
		if name == "hangs" {
			timeout = time.Millisecond
		}
		c, err := authn.NewChain(authn.Config{
			Handlers: []authn.Entry{{Name: "first", Handler: gossip}, {Name: name, Handler: composite, Timeout: timeout}},
			Token:    authn.PasswordToken,
			Observe:  func(_ context.Context, a authn.Attempt) error { caught.show(a, a.Votes, a.Err); return nil },
		})
		require.NoError(t, err)
		for _, r := range []authn.Request{
			by0("alice", planted), by0("alice", "wrong"+planted), by0("bob", planted), by0("", planted),
			{Principal: "alice", Credentials: []byte(planted), Properties: map[string]string{"A": planted}, Proposed: map[string]string{"A": planted},
				Connection: authn.Connection{Header: http.Header{"Authorization": {"Bearer " + planted}, "Cookie": {planted}}}},
		} {
			login, err := c.Login(t.Context(), &r)
			caught.show(r, &r, r.Connection, login, err, c, cache, composite)
			if err != nil {
				caught.show(refused(t, err).Votes)
			}
		}
		for _, token := range []string{planted, "alice:" + planted, "bob:" + planted} {
			p, err := c.Authenticate(t.Context(), token)
			caught.show(p, err)
		}
		caught.show(cache, controls)
	}

	for _, broken := range []string{
		text[:len(text)-4], strings.Replace(text, "i=", "x=", 1), strings.Replace(text, `"roles"`, `"`+"rolls"+`"`, 1),
		`{"users": {"alice": {"password": "` + planted + `"}}}`, `{"users": {"alice": {"password": ["` + planted + `"]}}}`,
		`{"hash": "md5", "iterations": 1, "keyLength": 64, "users": {"alice": {"password": "` + planted + `"}}}`,
		`{"users": {"alice": {"password": "` + hash + `", "roles": ["` + planted + `", ""]}}}`,
	} {
		path := filepath.Join(t.TempDir(), "users.json")
		require.NoError(t, os.WriteFile(path, []byte(broken), 0o600))
		_, err := authn.OpenFile(path, authn.FileConfig{})
		require.Error(t, err)
		caught.show(err)
	}
	_, err = authn.HashPassword(planted+"\x00", 0)
	caught.show(err)
	_, err = authn.ParsePassword(strings.Replace(hash, "i=", "", 1))
	caught.show(err)
	_, err = authn.DeepstreamHash{Hash: "md5", Iterations: 1, KeyLength: 64}.ParsePassword(planted)
	caught.show(err)

	require.Greater(t, caught.Len(), 10_000, "the trap was shown something")
	all := caught.String()
	for _, s := range secrets {
		if at := strings.Index(all, s); at >= 0 {
			t.Errorf("%q got out: %s", s, all[max(0, at-200):min(len(all), at+len(s)+50)])
		}
	}
	caught.show(planted, hash)
	for _, s := range secrets[:1] {
		require.Contains(t, caught.String(), s, "the trap works")
	}
}

func by0(name, password string) authn.Request { return *by(name, password) }

func TestARequestIsNotWrittenAsJSON(t *testing.T) {
	t.Parallel()
	_, err := json.Marshal(by("alice", planted))
	require.Error(t, err)
	require.Equal(t, `authn.Request{Principal: "alice", Change: false, Connection: authn.Connection{Transport: "", RemoteAddr: "", TLS: false}}`,
		fmt.Sprintf("%+v", by("alice", planted)))
}

func TestAHandlerThatQuotesTheCredentialsIsConcealed(t *testing.T) {
	t.Parallel()
	secret := []byte("pl\"nt\\d\x00")
	for _, format := range []string{"%s", "%q", "not %q, really"} {
		c := chain(t, authn.Config{}, authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
			return authn.Response{Reason: fmt.Sprintf(format, r.Credentials)}, fmt.Errorf(format, r.Credentials)
		}))
		_, err := c.Login(t.Context(), &authn.Request{Principal: "alice", Credentials: secret})
		vote := refused(t, err).Votes[0]
		require.ErrorContains(t, vote.Err, "concealed", format)
		require.Contains(t, vote.Reason, "concealed", format)
	}
}
