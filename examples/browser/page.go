package main

import (
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

//go:embed page
var files embed.FS

// contentPolicy lets the page run its own script, talk to its own server, and nothing else: no inline script, no image, and
// no assignment of text as HTML.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// visit is how long a visitor's token is good.
const visit = 15 * time.Minute

// handler serves the page and, beside it, the transport.
func (s *site) handler() http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // it is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("/channels/", s.transport)
	mux.Handle("GET /{$}", http.FileServerFS(page))
	mux.Handle("GET /{file}", http.FileServerFS(page))
	mux.HandleFunc("POST /visitors", s.welcome)
	mux.HandleFunc("POST /revoke", s.revoke)
	return http.NewCrossOriginProtection().Handler(guarded(mux))
}

// guarded sets what browsers are told with every answer.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

// welcome hands out a token of one's own. Everybody is welcome here: your server asks for a login first.
func (s *site) welcome(w http.ResponseWriter, r *http.Request) {
	text, err := s.security.GenerateToken(r.Context(), chansec.TokenRequest{SystemID: "visitor-" + uuid.NewString()[:8],
		Role: chansec.RoleWrite, Channels: []string{"news"}, ExpiresIn: visit})
	if err != nil {
		http.Error(w, "no token can be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": text, "expires_in": int(visit.Seconds())})
}

// revoke revokes the token with which it is called, as a logout would.
func (s *site) revoke(w http.ResponseWriter, r *http.Request) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	p, err := s.security.Authenticate(r.Context(), text)
	if err != nil {
		http.Error(w, "not a good token", http.StatusUnauthorized)
		return
	}
	if err := s.security.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt); err != nil {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
