package authn_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// authData is what a client of deepstream sends to log in. A chain has names and credentials: what is no text is missing.
type authData struct{ Username, Password any }

func (d authData) request() *authn.Request {
	r := &authn.Request{}
	r.Principal, _ = d.Username.(string)
	if password, ok := d.Password.(string); ok {
		r.Credentials = []byte(password)
	}
	return r
}

// openText opens a file of that text.
func openText(t testing.TB, text string, config authn.FileConfig) (*authn.File, error) {
	path := filepath.Join(t.TempDir(), "users.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	config.Poll = -1
	return authn.OpenFile(path, config)
}

func mustJSON(t testing.TB, v any) string {
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

func ask(t testing.TB, h authn.Handler, r *authn.Request) authn.Response {
	answer, err := h.Authenticate(t.Context(), r)
	require.NoError(t, err)
	return answer
}

// ofEveryObject is what every JavaScript object has. The engine takes them for users and refuses them, or dies of them;
// they are unknown like all others that are not in the file (valve.md 15.2).
var ofEveryObject = []string{"toString", "__proto__", "constructor", "hasOwnProperty", "valueOf", "isPrototypeOf", "toLocaleString", "propertyIsEnumerable"}

func TestVectorsOfFile(t *testing.T) {
	t.Parallel()
	var v struct {
		Cases []struct {
			ID       string
			Users    map[string]any
			Settings map[string]any
			AuthData authData
			Expect   *struct {
				deepstreamResult
				Thrown string
			}
		}
	}
	loadVector(t, "valve/auth-file.json", &v)
	require.NotEmpty(t, v.Cases)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			text := c.Settings
			if text["reportInvalidParameters"] == nil {
				text["reportInvalidParameters"] = true // deepstream's default
			}
			// The engine lets in a user without a name. Without a name, somebody is anonymous, and such a file is refused.
			_, nameless := c.Users[""]
			text["users"] = c.Users
			if nameless {
				_, err := openText(t, mustJSON(t, text), authn.FileConfig{ClearText: true})
				require.ErrorIs(t, err, chansec.ErrInvalid)
				delete(c.Users, "")
			}
			file, err := openText(t, mustJSON(t, text), authn.FileConfig{ClearText: true})
			require.NoError(t, err)
			got := ask(t, file, c.AuthData.request())
			if c.AuthData.Username == "" {
				require.NotEqual(t, authn.Allow, got.Answer, "anonymous")
				return
			}
			if name, _ := c.AuthData.Username.(string); slices.Contains(ofEveryObject, name) {
				require.Equal(t, authn.Abstain, got.Answer)
				return
			}
			if c.Expect == nil {
				require.Equal(t, authn.Abstain, got.Answer)
				return
			}
			require.Empty(t, c.Expect.Thrown)
			if !c.Expect.IsValid {
				require.Equal(t, authn.Deny, got.Answer)
				require.Equal(t, c.Expect.ClientData, got.ClientData)
				return
			}
			require.Equal(t, authn.Allow, got.Answer)
			require.Equal(t, c.Expect.ID, got.Principal)
			require.Equal(t, authn.ProofPassword, got.Proof)
			require.Equal(t, c.Expect.ClientData, got.ClientData)
			if want, isObject := c.Expect.ServerData.(map[string]any); isObject {
				require.Equal(t, want, got.ServerData)
			} else { // what is falsy becomes null (valve.md 15.1)
				require.Contains(t, []any{nil, false, 0.0, ""}, c.Expect.ServerData)
				require.Nil(t, got.ServerData)
			}
		})
	}
}

func TestVectorsOfFileSettings(t *testing.T) {
	t.Parallel()
	var v struct {
		Cases []struct {
			ID, Note string
			Settings json.RawMessage
			Fatal    []json.RawMessage
			Thrown   string
		}
	}
	loadVector(t, "valve/auth-file-config.json", &v)
	require.NotEmpty(t, v.Cases)
	for _, c := range v.Cases {
		t.Run(c.ID+" "+c.Note, func(t *testing.T) {
			_, err := openText(t, string(c.Settings), authn.FileConfig{ClearText: true})
			if len(c.Fatal) == 0 && c.Thrown == "" {
				require.NoError(t, err)
				return
			}
			e, ok := errors.AsType[*authn.FileError](err)
			require.True(t, ok, "%v", err)
			require.Positive(t, e.Line)
			require.ErrorIs(t, err, chansec.ErrInvalid)
		})
	}
}

func TestVectorsOfPasswordHashes(t *testing.T) {
	t.Parallel()
	var v struct {
		Cases []struct {
			ID, Algorithm                                  string
			Iterations, KeyLength                          int
			Password, Salt, Stored                         string
			Accepts, AcceptsWrong, AcceptsStoredAsPassword bool
		}
	}
	loadVector(t, "valve/auth-hash.json", &v)
	require.NotEmpty(t, v.Cases)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			file, err := openText(t, mustJSON(t, map[string]any{
				"users": map[string]any{"u": map[string]any{"password": c.Stored}},
				"hash":  c.Algorithm, "iterations": c.Iterations, "keyLength": c.KeyLength,
			}), authn.FileConfig{})
			require.NoError(t, err)
			right := func(password string) bool {
				return ask(t, file, &authn.Request{Principal: "u", Credentials: []byte(password)}).Answer == authn.Allow
			}
			require.Equal(t, c.Accepts, right(c.Password))
			require.Equal(t, c.AcceptsWrong, right(c.Password+"x"))
			require.Equal(t, c.AcceptsStoredAsPassword, right(c.Stored))
			require.NotEmpty(t, file.Weaknesses(), "all of them are too weak")
		})
	}
}

// TestVectorsOfNone: a name that is no text is none: a chain has names only.
func TestVectorsOfNone(t *testing.T) {
	t.Parallel()
	var v struct {
		Cases []struct {
			ID       string
			AuthData authData
			Expect   deepstreamResult
		}
	}
	loadVector(t, "valve/auth-open.json", &v)
	require.NotEmpty(t, v.Cases)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			got := ask(t, authn.None(), c.AuthData.request())
			require.Equal(t, authn.Allow, got.Answer)
			require.Equal(t, chansec.ProofNone, got.Proof)
			if _, isText := c.AuthData.Username.(string); isText {
				require.Equal(t, c.Expect.ID, got.Principal)
			} else {
				require.Equal(t, authn.OpenPrincipal, got.Principal)
			}
		})
	}
}

// TestVectorsOfTheQuarantine: what the answers to logins are. The rest of the transcripts is deepstream's protocol and its
// connections, which a chain has nothing to do with: logins without data, or of no object, and messages before a login.
func TestVectorsOfTheQuarantine(t *testing.T) {
	t.Parallel()
	var v struct {
		Cases []struct {
			ID, Note   string
			Transcript []string
		}
	}
	loadVector(t, "valve/auth-quarantine.json", &v)
	file, err := openText(t, `{"users": {"a": {"password": "p", "clientData": {"c": 1}}}, "reportInvalidParameters": true}`, authn.FileConfig{ClearText: true})
	require.NoError(t, err)
	chain := chain(t, authn.Config{}, file)
	logins := 0
	for _, c := range v.Cases {
		for i, line := range c.Transcript {
			text, isLogin := strings.CutPrefix(line, "-> AUTH/REQUEST ")
			if !isLogin || !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
				continue
			}
			answer, data, _ := strings.Cut(strings.TrimPrefix(c.Transcript[i+1], "<- AUTH/"), " ")
			var d authData
			if text[0] == '{' {
				require.NoError(t, json.Unmarshal([]byte(text), &d))
			}
			login, err := chain.Login(t.Context(), d.request())
			var clientData any
			switch answer {
			case "AUTH_SUCCESSFUL":
				require.NoError(t, err, c.ID)
				clientData = login.ClientData
			case "AUTH_UNSUCCESSFUL":
				require.ErrorIs(t, err, chansec.ErrUnauthenticated, c.ID)
				clientData = refused(t, err).ClientData
			default:
				continue
			}
			if data == "" {
				require.Nil(t, clientData)
			} else {
				require.JSONEq(t, data, mustJSON(t, clientData))
			}
			logins++
		}
	}
	require.Greater(t, logins, 5)
}

// table is a store of users, as deepstream's type "storage" has it.
type table map[string]authn.User

var errStore = errors.New("the store is away")

func (s table) LookupUser(_ context.Context, name string) (authn.User, bool, error) {
	if name == "boom" {
		return authn.User{}, false, errStore
	}
	u, ok := s[name]
	return u, ok, nil
}

func (s table) CreateUser(_ context.Context, name, hash string) (authn.User, error) {
	password, err := authn.ParsePassword(hash)
	id := "id of " + name
	s[name] = authn.User{Principal: id, Password: password, ClientData: map[string]any{"id": id}, ServerData: map[string]any{"created": 0.0}}
	return s[name], err
}

func TestVectorsOfStorage(t *testing.T) {
	t.Parallel()
	var v struct {
		Cases []struct {
			ID, Note   string
			CreateUser bool
			AuthData   authData
			Expect     *deepstreamResult
			StoredKeys []string
		}
	}
	loadVector(t, "valve/auth-storage.json", &v)
	require.NotEmpty(t, v.Cases)
	stores := map[bool]table{true: {}, false: {}}
	for _, c := range v.Cases { // in this order
		t.Run(c.ID+" "+c.Note, func(t *testing.T) {
			store := stores[c.CreateUser]
			handler, err := authn.NewPasswords(store, authn.UsersConfig{Iterations: 10, Create: c.CreateUser,
				PasswordConfig: authn.PasswordConfig{RefuseIncomplete: true}})
			require.NoError(t, err)
			got, err := handler.Authenticate(t.Context(), c.AuthData.request())
			switch {
			case c.AuthData.Username == "boom": // the engine tells the caller; ours gets an error, and the caller nothing
				require.ErrorIs(t, err, errStore)
			case c.Expect == nil:
				require.NoError(t, err)
				require.Equal(t, authn.Abstain, got.Answer)
			case !c.Expect.IsValid:
				require.NoError(t, err)
				require.Equal(t, authn.Deny, got.Answer)
				require.Equal(t, c.Expect.ClientData != nil, got.ClientData != nil, "the wording differs from that of the file")
			default:
				require.NoError(t, err)
				require.Equal(t, authn.Allow, got.Answer)
				require.Equal(t, got.Principal, got.ClientData.(map[string]any)["id"])
				require.Contains(t, got.ServerData, "created")
			}
			require.Len(t, store, len(c.StoredKeys))
		})
	}
}
