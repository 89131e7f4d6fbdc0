package authn

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chansec/chansec"
)

// ProofCertificate is the proof of whom [PeerCertificate] let in.
const ProofCertificate chansec.Proof = "certificate"

// PeerCertificate returns a handler that knows callers by the certificates of their TLS connections (mTLS). Name says who
// the owner of a certificate is; it may be called from many goroutines at once. There is no default, since the common name
// and whatever else a certificate says is only as good as the authorities that may say it: see [SPIFFE].
//
// It abstains without TLS or certificate, from a request with credentials, which are then to prove somebody, and where the
// name is empty. It denies a certificate that the server did not verify (tls.RequireAndVerifyClientCert and
// tls.VerifyClientCertIfGiven do), one of a chain that is not valid now, one whose name is no system ID, and one that
// belongs to somebody else than the request names. It fails where name does.
//
// A certificate sets no bound but time: the grant is for everything until the chain expires.
func PeerCertificate(name func(*x509.Certificate) (string, error)) (Handler, error) {
	if name == nil {
		return nil, &chansec.InvalidError{What: "name of certificates", Value: "nil", Want: "a function"}
	}
	return peerCertificate{name}, nil
}

type peerCertificate struct {
	name func(*x509.Certificate) (string, error)
}

// Authenticate looks at the certificate.
func (h peerCertificate) Authenticate(_ context.Context, r *Request) (Response, error) {
	state := r.Connection.TLS
	switch {
	case state == nil || len(state.PeerCertificates) == 0:
		return Response{Answer: Abstain, Reason: "no certificate"}, nil
	case len(r.Credentials) > 0:
		return Response{Answer: Abstain, Reason: "there are credentials beside the certificate"}, nil
	case !state.HandshakeComplete || len(state.VerifiedChains) == 0:
		return Response{Reason: "the certificate was not verified"}, nil
	}
	peer := state.PeerCertificates[0]
	until, ok := certificateUntil(peer, state.VerifiedChains, time.Now())
	if !ok {
		return Response{Reason: "the certificate is not valid now"}, nil
	}
	name, err := h.name(peer)
	switch {
	case err != nil:
		return Response{}, err
	case name == "":
		return Response{Answer: Abstain, Reason: "a certificate of nobody known"}, nil
	case chansec.CheckSystemID(name) != nil:
		return Response{Reason: "the name of the certificate is no system id"}, nil
	case r.Principal != "" && r.Principal != name:
		return Response{Reason: "the certificate belongs to somebody else than the request names"}, nil
	}
	return Response{Answer: Allow, Principal: name, Proof: ProofCertificate, ExpiresAt: until,
		Grant: &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: until}}, nil
}

// certificateUntil returns until when the best of the chains that were verified for a certificate is valid, and whether one
// is valid now.
func certificateUntil(peer *x509.Certificate, chains [][]*x509.Certificate, now time.Time) (until time.Time, ok bool) {
	for _, chain := range chains {
		if len(chain) == 0 || !bytes.Equal(chain[0].Raw, peer.Raw) {
			continue
		}
		ends, valid := chain[0].NotAfter, true
		for _, c := range chain {
			valid = valid && !now.Before(c.NotBefore)
			if c.NotAfter.Before(ends) {
				ends = c.NotAfter
			}
		}
		if valid && now.Before(ends) && ends.After(until) {
			until, ok = ends, true
		}
	}
	return until, ok
}

// SPIFFE names the owner of a certificate by its SPIFFE ID (SPIFFE ID and X.509-SVID standards): the one URI of the
// certificate, such as spiffe://example.org/billing, in one of some trust domains. Any other certificate has no name. It
// fails with a chansec.InvalidError unless there is a trust domain, and all are in lower case.
func SPIFFE(trustDomains ...string) (func(*x509.Certificate) (string, error), error) {
	domains := slices.Clone(trustDomains)
	for _, domain := range domains {
		if !isSPIFFEText(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-_") || len(domain) > 255 {
			return nil, invalidSetting("trust domain", domain, "a name of lower-case letters, digits, dots, dashes and underscores")
		}
	}
	if len(domains) == 0 {
		return nil, invalidSetting("trust domains", "", "at least one, such as example.org")
	}
	return func(c *x509.Certificate) (string, error) {
		if len(c.URIs) != 1 || !isSPIFFE(c.URIs[0], domains) {
			return "", nil
		}
		return c.URIs[0].String(), nil
	}, nil
}

// isSPIFFE reports whether a URI is the SPIFFE ID of a workload: with a path.
func isSPIFFE(id *url.URL, domains []string) bool {
	text := id.String()
	domain, path, ok := strings.Cut(strings.TrimPrefix(text, "spiffe://"), "/")
	if !ok || !strings.HasPrefix(text, "spiffe://") || !slices.Contains(domains, domain) {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if !isSPIFFEText(segment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

func isSPIFFEText(text, alphabet string) bool {
	for _, c := range []byte(text) {
		if strings.IndexByte(alphabet, c) < 0 {
			return false
		}
	}
	return text != ""
}
