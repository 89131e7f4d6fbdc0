package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/chansec/chansec/rbac"
)

// newTokens makes a pair of keys in the folder "keys" of the configuration, as openssl would, and loads it from there.
func newTokens(config string) (*rbac.Tokens, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(config, "keys")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	for name, block := range map[string]*pem.Block{
		"appkernel.pem": {Type: "PRIVATE KEY", Bytes: private},
		"appkernel.pub": {Type: "PUBLIC KEY", Bytes: public},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}

	keys, err := rbac.KeyFiles{Config: config}.Signing()
	if err != nil {
		return nil, err
	}
	return rbac.NewTokens(keys, rbac.Application("users-app"))
}

// rules say who may do what with users. What they do not say is refused.
func rules() *rbac.Rules {
	return new(rbac.Rules).
		Action(rbac.Action{Name: "change_password", Methods: []string{"POST"},
			Require: rbac.AnyOf{rbac.CurrentSubject("object_id"), rbac.Role("admin")}}).
		Action(rbac.Action{Name: "greeting", Require: rbac.Anonymous}).
		DenyAll().
		Require(rbac.Role("user"), "GET").
		Require(rbac.Role("admin"), "PUT", "DELETE")
}

// users is a resource that knows nothing of rules.
type users struct {
	mu    sync.Mutex
	names map[string]string // by ID
}

func newUsers() *users {
	return &users{names: map[string]string{"alice": "Alice", "bob": "Bob"}}
}

// handler puts the resource behind its rules.
func (u *users) handler(tokens *rbac.Tokens, opts ...rbac.Option) (http.Handler, []rbac.Route, error) {
	service, err := rbac.NewService(tokens, rules(), opts...)
	if err != nil {
		return nil, nil, err
	}
	var mux rbac.Mux
	mux.Handle("GET /users", service, http.HandlerFunc(u.list))
	mux.Handle("/users/{object_id}", service, http.HandlerFunc(u.one))
	mux.HandleAction("POST /users/{object_id}/change_password", service, "change_password", http.HandlerFunc(u.changePassword))
	mux.HandleAction("GET /users/{object_id}/greeting", service, "greeting", http.HandlerFunc(u.greeting))
	handler, err := mux.Handler()
	return handler, mux.Routes(), err
}

func (u *users) list(w http.ResponseWriter, _ *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	fmt.Fprintln(w, slices.Sorted(maps.Keys(u.names)))
}

// maxBody bounds what clients may send.
const maxBody = 1 << 10

func (u *users) one(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("object_id")
	u.mu.Lock()
	defer u.mu.Unlock()
	switch r.Method {
	case http.MethodPut:
		name, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "the name is too long", http.StatusRequestEntityTooLarge)
			return
		}
		u.names[id] = string(name)
	case http.MethodDelete:
		delete(u.names, id)
		fmt.Fprintln(w, "deleted")
		return
	}
	name, ok := u.names[id]
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintln(w, name)
}

func (u *users) changePassword(w http.ResponseWriter, r *http.Request) {
	claims, _ := rbac.ClaimsFrom(r.Context())
	fmt.Fprintf(w, "%s changed the password of %s\n", claims.Subject, r.PathValue("object_id"))
}

func (u *users) greeting(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "hello, this is %s\n", r.PathValue("object_id"))
}
