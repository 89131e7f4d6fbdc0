package main

import (
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"sync"
)

// oauthServer is what an OAuth server looks like to those who ask it about tokens.
type oauthServer struct {
	secret string // of those who may ask
	mu     sync.Mutex
	tokens map[string]answer
}

// answer is RFC 7662's, with a member of our own: the channels.
type answer struct {
	Active   bool     `json:"active"`
	Sub      string   `json:"sub,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	Channels []string `json:"channels,omitempty"`
	Exp      int64    `json:"exp,omitempty"`
}

func (s *oauthServer) revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, token)
}

func (s *oauthServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+s.secret)) == 0 {
		http.Error(w, "who asks?", http.StatusUnauthorized)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	token := r.PostFormValue("token")
	s.mu.Lock()
	a := s.tokens[token] // unknown is inactive
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a)
}

// listen serves on a free port of this machine only, and returns the address and what ends it.
func (s *oauthServer) listen() (endpoint string, stop func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: s}
	go server.Serve(l)
	return "http://" + l.Addr().String() + "/introspect", server.Close, nil
}
