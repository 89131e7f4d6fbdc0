package authn

import (
	"context"
	"net/url"
	"strings"

	"github.com/chansec/chansec/internal/strictjson"
	"github.com/chansec/chansec/internal/token"
)

// oidcProblem is why a discovery document was refused. Its text is constant.
type oidcProblem string

func (p oidcProblem) Error() string { return "authn: discovery: " + string(p) }

const (
	oidcMalformed oidcProblem = "the document is not strict JSON"
	oidcIssuer    oidcProblem = "the document is that of another issuer"
	oidcKeys      oidcProblem = "jwks_uri is no https URL"
)

// oidcShape bounds a discovery document.
var oidcShape = strictjson.Limits{Depth: 8, Items: 256}

// oidcLocation is where the discovery document of an issuer is (OpenID Connect Discovery 1.0 section 4).
func oidcLocation(issuer string) (*url.URL, error) {
	at, err := checkOutboundURL("Issuer.Issuer", issuer, false)
	if err != nil {
		return nil, err
	}
	if at.RawQuery != "" || at.ForceQuery {
		return nil, invalidSetting("Issuer.Issuer", at.Host, "a URL without a query, for Discovery")
	}
	return checkOutboundURL("Issuer.Issuer", strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", false)
}

// fetchOIDC returns the keys of an issuer by way of its discovery document. What the document says beside jwks_uri is of no
// importance: the algorithms are those of the configuration.
func fetchOIDC(ctx context.Context, out *outbound, at *url.URL, issuer string, algorithms []string) (*token.KeySet, error) {
	text, err := fetchDocument(ctx, out, at)
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(text, nil, oidcShape)
	if err != nil {
		return nil, oidcMalformed
	}
	// The issuer must be the very same text (section 4.3), so that one that serves documents for many cannot stand in for
	// another.
	if named, ok := jwksMember(members, "issuer").Text(); !ok || named != issuer {
		return nil, oidcIssuer
	}
	// An issuer on this machine may have its keys there, too; one that is elsewhere may not send us to this machine.
	location, _ := jwksMember(members, "jwks_uri").Text()
	keys, err := checkOutboundURL("jwks_uri", location, false)
	if err != nil || keys.Scheme != at.Scheme && keys.Scheme != "https" || isLoopback(keys.Hostname()) && !isLoopback(at.Hostname()) {
		return nil, oidcKeys
	}
	return fetchJWKS(ctx, out, keys, algorithms)
}

// fetchJWKS returns the keys of a key set's URL.
func fetchJWKS(ctx context.Context, out *outbound, at *url.URL, algorithms []string) (*token.KeySet, error) {
	text, err := fetchDocument(ctx, out, at)
	if err != nil {
		return nil, err
	}
	return parseJWKS(text, algorithms)
}
