package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB, until time.Time) authority {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key}
}

// issue makes the certificate of a client called alice, with changes.
func (a authority) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "alice"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: uris(t, "spiffe://example.org/alice"), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func uris(t testing.TB, texts ...string) []*url.URL {
	var list []*url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		require.NoError(t, err)
		list = append(list, u)
	}
	return list
}

// connected is what a server knows after a handshake.
func (a authority) connected(c tls.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{c.Leaf}, VerifiedChains: [][]*x509.Certificate{{c.Leaf, a.cert}}}
}

func spiffe(t testing.TB) authn.Handler {
	name, err := authn.SPIFFE("example.org")
	require.NoError(t, err)
	h, err := authn.PeerCertificate(name)
	require.NoError(t, err)
	return h
}

func TestAPeerCertificateSaysWhoAndUntilWhen(t *testing.T) {
	a, stranger := newAuthority(t, time.Now().Add(24*time.Hour)), newAuthority(t, time.Now().Add(24*time.Hour))
	alice := a.issue(t, nil)
	change := func(c func(*tls.ConnectionState)) *tls.ConnectionState {
		state := a.connected(alice)
		c(state)
		return state
	}
	for name, c := range map[string]struct {
		request authn.Request
		tls     *tls.ConnectionState
		want    authn.Answer
	}{
		"a certificate":                  {authn.Request{}, a.connected(alice), authn.Allow},
		"a certificate of whom it names": {authn.Request{Principal: "spiffe://example.org/alice"}, a.connected(alice), authn.Allow},
		"a certificate of somebody else": {authn.Request{Principal: "spiffe://example.org/bob"}, a.connected(alice), authn.Deny},
		"credentials beside it":          {authn.Request{Principal: "bob", Credentials: []byte("pw")}, a.connected(alice), authn.Abstain},
		"no TLS":                         {authn.Request{}, nil, authn.Abstain},
		"no certificate":                 {authn.Request{}, change(func(s *tls.ConnectionState) { s.PeerCertificates, s.VerifiedChains = nil, nil }), authn.Abstain},
		"one that nobody verified":       {authn.Request{}, change(func(s *tls.ConnectionState) { s.VerifiedChains = nil }), authn.Deny},
		"a chain of nothing":             {authn.Request{}, change(func(s *tls.ConnectionState) { s.VerifiedChains = [][]*x509.Certificate{{}} }), authn.Deny},
		"a handshake that is not over":   {authn.Request{}, change(func(s *tls.ConnectionState) { s.HandshakeComplete = false }), authn.Deny},
		"the chain of another certificate": {authn.Request{}, change(func(s *tls.ConnectionState) {
			s.VerifiedChains = stranger.connected(stranger.issue(t, nil)).VerifiedChains
		}), authn.Deny},
		"one that has expired":                {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), authn.Deny},
		"one that is not valid yet":           {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })), authn.Deny},
		"one of another trust domain":         {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://example.com/alice") })), authn.Abstain},
		"one of a trust domain below":         {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://a.example.org/alice") })), authn.Abstain},
		"one with a port":                     {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://example.org:1/alice") })), authn.Abstain},
		"one with a user":                     {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://me@example.org/alice") })), authn.Abstain},
		"one with a query":                    {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://example.org/alice?admin") })), authn.Abstain},
		"one with an encoded slash":           {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://example.org/a%2Falice") })), authn.Abstain},
		"one with dots":                       {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://example.org/a/../alice") })), authn.Abstain},
		"one with an empty part":              {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://example.org//alice") })), authn.Abstain},
		"the trust domain itself":             {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://example.org") })), authn.Abstain},
		"one of two names":                    {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://example.org/alice", "spiffe://example.org/bob") })), authn.Abstain},
		"one with a common name, and no more": {authn.Request{}, a.connected(a.issue(t, func(c *x509.Certificate) { c.URIs = nil })), authn.Abstain},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.request
			r.Connection.TLS = c.tls
			got, err := spiffe(t).Authenticate(t.Context(), &r)
			require.NoError(t, err)
			require.Equal(t, c.want, got.Answer, got.Reason)
			if c.want != authn.Allow {
				require.Empty(t, got.Principal)
				return
			}
			require.Equal(t, "spiffe://example.org/alice", got.Principal)
			require.Equal(t, authn.ProofCertificate, got.Proof)
			require.True(t, alice.Leaf.NotAfter.Equal(got.ExpiresAt))
			require.ErrorIs(t, got.Grant.Covers("x", chansec.OpRead, alice.Leaf.NotAfter), chansec.ErrExpired)
			require.NoError(t, got.Grant.Covers("x", chansec.OpRemove, time.Now()))
		})
	}
}

func TestACertificateIsGoodForAsLongAsItsBestChain(t *testing.T) {
	long, short := newAuthority(t, time.Now().Add(24*time.Hour)), newAuthority(t, time.Now().Add(time.Minute))
	over := newAuthority(t, time.Now().Add(-time.Minute))
	alice := long.issue(t, nil)
	try := func(authorities ...authority) authn.Response {
		state := &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{alice.Leaf}}
		for _, a := range authorities {
			state.VerifiedChains = append(state.VerifiedChains, []*x509.Certificate{alice.Leaf, a.cert})
		}
		got, err := spiffe(t).Authenticate(t.Context(), &authn.Request{Connection: authn.Connection{TLS: state}})
		require.NoError(t, err)
		return got
	}
	require.True(t, short.cert.NotAfter.Equal(try(short).ExpiresAt))
	require.True(t, alice.Leaf.NotAfter.Equal(try(short, long).ExpiresAt))
	require.True(t, alice.Leaf.NotAfter.Equal(try(long, short, over).ExpiresAt))
	require.Equal(t, authn.Deny, try(over).Answer)
}

func TestACertificateExpiresDuringAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, time.Now().Add(24*time.Hour))
		r := &authn.Request{Connection: authn.Connection{TLS: a.connected(a.issue(t, nil))}}
		h := spiffe(t)
		got, err := h.Authenticate(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, authn.Allow, got.Answer)
		time.Sleep(time.Until(got.ExpiresAt)) // fake
		got, err = h.Authenticate(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, authn.Deny, got.Answer)
	})
}

func TestTheNameOfACertificateIsUpToTheCaller(t *testing.T) {
	a := newAuthority(t, time.Now().Add(24*time.Hour))
	failure := errors.New("the directory is away")
	for name, c := range map[string]struct {
		says string
		err  error
		want authn.Answer
	}{
		"a name":                 {"alice", nil, authn.Allow},
		"none":                   {"", nil, authn.Abstain},
		"what cannot be a name":  {"a\nb", nil, authn.Deny},
		"a failure":              {"", failure, authn.Deny},
		"a failure with a name":  {"alice", failure, authn.Deny},
		"the name of another ID": {"bob", nil, authn.Deny},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := authn.PeerCertificate(func(cert *x509.Certificate) (string, error) {
				require.Equal(t, "alice", cert.Subject.CommonName)
				return c.says, c.err
			})
			require.NoError(t, err)
			got, err := h.Authenticate(t.Context(), &authn.Request{Principal: "alice", Connection: authn.Connection{TLS: a.connected(a.issue(t, nil))}})
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.want, got.Answer)
		})
	}
	_, err := authn.PeerCertificate(nil)
	require.ErrorIs(t, err, chansec.ErrInvalid)
	for _, domains := range [][]string{nil, {""}, {"Example.org"}, {"spiffe://example.org"}, {"example.org/a"}, {"a b"}} {
		_, err := authn.SPIFFE(domains...)
		require.ErrorIs(t, err, chansec.ErrInvalid)
	}
}

func TestWhatARealServerVerifiedCounts(t *testing.T) {
	a, stranger := newAuthority(t, time.Now().Add(24*time.Hour)), newAuthority(t, time.Now().Add(24*time.Hour))
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	h := spiffe(t)
	for name, c := range map[string]struct {
		auth tls.ClientAuthType
		cert *tls.Certificate
		want string
	}{
		"verified":                       {tls.VerifyClientCertIfGiven, new(a.issue(t, nil)), "allow"},
		"requested and not verified":     {tls.RequestClientCert, new(a.issue(t, nil)), "deny"},
		"of a stranger and not verified": {tls.RequireAnyClientCert, new(stranger.issue(t, nil)), "deny"},
		"none":                           {tls.VerifyClientCertIfGiven, nil, "abstain"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, err := h.Authenticate(r.Context(), &authn.Request{Connection: authn.Connection{Transport: "http", TLS: r.TLS}})
				if err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(w, got.Answer.String())
			}))
			s.Config.ErrorLog = discardLog
			s.TLS = &tls.Config{ClientAuth: c.auth, ClientCAs: pool}
			s.StartTLS()
			defer s.Close()
			client := s.Client()
			if c.cert != nil {
				client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
			}
			resp, err := client.Get(s.URL)
			require.NoError(t, err)
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, c.want, string(got))
		})
	}
}
