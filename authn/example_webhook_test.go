package authn_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chansec/chansec/authn"
)

// A server of our own knows who somebody is.
func ExampleNewWebhook() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			AuthData struct{ Username, Password string }
		}
		w.Header().Set("Content-Type", "application/json")
		if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.AuthData.Password != "correct horse" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"hint":"caps lock?"}`)
			return
		}
		fmt.Fprintf(w, `{"id":%q,"serverData":{"team":"blue","groups":["ops"]},"clientData":{"theme":"dark"}}`, asked.AuthData.Username)
	}))
	defer server.Close()

	webhook, err := authn.NewWebhook(authn.WebhookConfig{
		Endpoint:             server.URL, // https, unless it is on this machine
		PermittedStatusCodes: []int{200},
		RetryStatusCodes:     []int{502, 503, 504},
		RequestTimeout:       2 * time.Second,
		RetryAttempts:        new(2),
		RetryInterval:        100 * time.Millisecond,
		Roles:                &authn.RoleMap{Path: []string{"groups"}, Roles: map[string][]string{"ops": {"OPERATOR"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer webhook.Close()
	for _, password := range []string{"correct horse", "wrong horse"} {
		r, err := webhook.Authenticate(context.Background(), &authn.Request{Principal: "chris", Credentials: []byte(password)})
		fmt.Println(r.Answer, r.Principal, r.Roles, r.ServerData["team"], r.ClientData, err)
	}
	// Output:
	// allow chris [OPERATOR] blue map[theme:dark] <nil>
	// deny  [] <nil> map[hint:caps lock?] <nil>
}

// Tokens of another issuer are taken, and what they call roles is translated.
func ExampleNewIssuers() {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	issuers, err := authn.NewIssuers(authn.IssuersConfig{Issuers: []authn.Issuer{{
		Issuer:        "https://id.example.org",
		Audience:      "chansec",
		Keys:          []authn.IssuerKey{{ID: "2026", Algorithm: "EdDSA", Public: private.Public()}}, // or JWKS: a URL, or Discovery
		SubjectPrefix: "staff:",
		Roles:         &authn.RoleMap{Path: []string{"realm_access", "roles"}, Roles: map[string][]string{"ops": {"OPERATOR"}}},
		Attributes:    []string{"email"},
	}}})
	if err != nil {
		log.Fatal(err)
	}
	defer issuers.Close()

	token := func(audience string) []byte {
		t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
			"iss": "https://id.example.org", "aud": audience, "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
			"email": "alice@example.org", "realm_access": map[string]any{"roles": []string{"ops", "ADMINISTRATOR"}},
		})
		text, err := t.SignedString(private)
		if err != nil {
			log.Fatal(err)
		}
		return []byte(text)
	}
	for _, credentials := range [][]byte{token("chansec"), token("billing"), []byte("no token")} {
		r, err := issuers.Authenticate(context.Background(), &authn.Request{Credentials: credentials})
		fmt.Println(r.Answer, r.Principal, r.Roles, r.ServerData["email"], r.Reason, err)
	}
	// Output:
	// allow staff:alice [OPERATOR] alice@example.org  <nil>
	// deny  [] <nil> a token of https://id.example.org: wrong audience <nil>
	// abstain  [] <nil> no token that names its issuer <nil>
}

// A TLS connection with a client certificate says who is calling.
func ExamplePeerCertificate() {
	name, err := authn.SPIFFE("example.org")
	if err != nil {
		log.Fatal(err)
	}
	handler, err := authn.PeerCertificate(name)
	if err != nil {
		log.Fatal(err)
	}
	// What a server with tls.RequireAndVerifyClientCert has in http.Request.TLS.
	billing := &x509.Certificate{Raw: []byte{1}, URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/billing"}}, NotAfter: time.Now().Add(time.Hour)}
	state := &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{billing}}
	for _, chains := range [][][]*x509.Certificate{{{billing}}, nil} {
		state.VerifiedChains = chains
		r, err := handler.Authenticate(context.Background(), &authn.Request{Connection: authn.Connection{TLS: state}})
		fmt.Println(r.Answer, r.Principal, r.Reason, err)
	}
	// Output:
	// allow spiffe://example.org/billing  <nil>
	// deny  the certificate was not verified <nil>
}
