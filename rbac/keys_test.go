package rbac_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/rbac"
)

func block(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return block("PRIVATE KEY", der, err)
}

func pkcs1(key *rsa.PrivateKey) string {
	return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
}

func spki(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	return block("PUBLIC KEY", der, err)
}

func certificate(key *rsa.PrivateKey) string {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return block("CERTIFICATE", der, err)
}

// folder writes keys/appkernel.pem and keys/appkernel.pub, unless they are empty, and returns the configuration's folder.
func folder(t *testing.T, private, public string) string {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700))
	write(t, filepath.Join(dir, "keys", "appkernel.pem"), private)
	write(t, filepath.Join(dir, "keys", "appkernel.pub"), public)
	return dir
}

func write(t *testing.T, path, text string) {
	if text != "" {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
}

func TestKeyFiles(t *testing.T) {
	key, other := rsaKey(), otherRSA()
	small := newRSA(1024)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	private, public := pkcs8(key), spki(&key.PublicKey)
	encrypted := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"

	for name, tt := range map[string]struct {
		private, public    string
		signing, verifying string // part of the error; "": none
	}{
		"as openssl writes them":           {private, public, "", ""},
		"in PKCS #1":                       {pkcs1(key), block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&key.PublicKey), nil), "", ""},
		"a certificate, whatever it says":  {private, certificate(key), "", ""},
		"with text around":                 {"# ours\n" + private, "Public-Key: (2048 bit)\n" + public + "\n", "", ""},
		"several public ones":              {private, spki(&other.PublicKey) + public, "", ""},
		"no private one":                   {"", public, "appkernel.pem", ""},
		"no public one":                    {private, "", "appkernel.pub", "appkernel.pub"},
		"of two pairs":                     {private, spki(&other.PublicKey), "belongs to a public key", ""},
		"too small":                        {pkcs8(small), spki(&small.PublicKey), "2048", "2048"},
		"only the private one too small":   {pkcs8(small), public, "2048", ""},
		"of another kind":                  {pkcs8(ec), spki(&ec.PublicKey), "RSA", "RSA"},
		"only the private one":             {pkcs8(ec), public, "RSA", ""},
		"the private one in both":          {private, private, "no private key", "no private key"},
		"beside the public one":            {private, public + private, "no private key", "no private key"},
		"in PKCS #1 beside the public one": {private, public + pkcs1(key), "no private key", "no private key"},
		"two private ones":                 {private + private, public, "one key", ""},
		"a public one for a private one":   {public, public, "PRIVATE KEY", ""},
		"encrypted":                        {encrypted, public, "not encrypted", ""},
		"encrypted, in PKCS #8":            {block("ENCRYPTED PRIVATE KEY", []byte{1}, nil), public, "not encrypted", ""},
		"no PEM":                           {"hunter2", "hunter2", "PEM", "PEM"},
		"damaged":                          {private[:200], public[:200], "PEM", "PEM"},
		"damaged inside":                   {block("PRIVATE KEY", []byte("hunter2"), nil), block("PUBLIC KEY", []byte("hunter2"), nil), "parsed", "parsed"},
		"only the second damaged":          {private, public + public[:100], "PEM", "PEM"},
		"a request for a certificate":      {private, block("CERTIFICATE REQUEST", []byte{1}, nil), "CERTIFICATE in PEM", "CERTIFICATE in PEM"},
		"too many":                         {private, strings.Repeat(public, 17), "1 to 16", "1 to 16"},
		"endless":                          {private, public + strings.Repeat("\n", 1<<18), "at most", "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			files := rbac.KeyFiles{Config: folder(t, tt.private, tt.public), Logger: slog.New(slog.DiscardHandler)}
			for _, x := range []struct {
				load func() (rbac.Keys, error)
				want string
			}{{files.Signing, tt.signing}, {files.Verifying, tt.verifying}} {
				keys, err := x.load()
				if x.want == "" {
					require.NoError(t, err)
					_, err = rbac.NewTokens(keys)
					require.NoError(t, err)
					continue
				}
				require.ErrorContains(t, err, x.want)
				require.True(t, isAny(err, chansec.ErrInvalid, fs.ErrNotExist), "%v", err)
				require.NotContains(t, err.Error(), "hunter2")
				_, err = rbac.NewTokens(keys)
				require.ErrorIs(t, err, chansec.ErrInvalid, "keys that were refused are none")
			}
		})
	}
}

// TestKeyPaths: the environment comes first, then the configuration, then the folder, for each key on its own; and what is
// set but cannot be read is no reason to look further.
func TestKeyPaths(t *testing.T) {
	dir := t.TempDir()
	at := make(map[string]string) // path by what is there
	for _, place := range []string{"environment", "configuration"} {
		key := map[string]*rsa.PrivateKey{"environment": rsaKey(), "configuration": otherRSA()}[place]
		at[place+".pem"], at[place+".pub"] = filepath.Join(dir, place+".pem"), filepath.Join(dir, place+".pub")
		write(t, at[place+".pem"], pkcs8(key))
		write(t, at[place+".pub"], spki(&key.PublicKey))
	}
	absent := filepath.Join(dir, "absent")
	inFolder := folder(t, pkcs8(rsaKey()), spki(&rsaKey().PublicKey))

	for name, tt := range map[string]struct {
		privateEnv, publicEnv string
		files                 rbac.KeyFiles
		fails                 string // part of the error
	}{
		"the folder":                               {"", "", rbac.KeyFiles{Config: inFolder}, ""},
		"the configuration is before it":           {"", "", rbac.KeyFiles{Config: inFolder, PrivateKeyPath: at["configuration.pem"], PublicKeyPath: at["configuration.pub"]}, ""},
		"the environment is before that":           {at["environment.pem"], at["environment.pub"], rbac.KeyFiles{Config: dir, PrivateKeyPath: at["configuration.pem"], PublicKeyPath: at["configuration.pub"]}, ""},
		"each on its own":                          {at["environment.pem"], "", rbac.KeyFiles{Config: inFolder}, ""},
		"so that they may not match":               {at["environment.pem"], "", rbac.KeyFiles{PublicKeyPath: at["configuration.pub"]}, "belongs to a public key"},
		"an absent one in the environment fails":   {absent, "", rbac.KeyFiles{Config: inFolder}, "absent"},
		"for the public one, too":                  {"", absent, rbac.KeyFiles{Config: inFolder}, "absent"},
		"an absent one in the configuration fails": {"", "", rbac.KeyFiles{Config: inFolder, PrivateKeyPath: absent}, "absent"},
		"for the public one as well":               {"", "", rbac.KeyFiles{Config: inFolder, PublicKeyPath: absent}, "absent"},
		"a folder is no file":                      {"", dir, rbac.KeyFiles{Config: inFolder}, filepath.Base(dir)},
		"nowhere":                                  {"", "", rbac.KeyFiles{Config: dir}, filepath.Join("keys", "appkernel.pub")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(rbac.PrivateKeyVariable, tt.privateEnv)
			t.Setenv(rbac.PublicKeyVariable, tt.publicEnv)
			keys, err := tt.files.Signing()
			if tt.fails != "" {
				require.ErrorContains(t, err, tt.fails)
				return
			}
			require.NoError(t, err)
			tokens, err := rbac.NewTokens(keys)
			require.NoError(t, err)
			_, err = tokens.Verify(t.Context(), newToken(t, tokens, "U1"))
			require.NoError(t, err)
		})
	}

	// Which of them was it?
	t.Setenv(rbac.PublicKeyVariable, at["environment.pub"])
	keys, err := rbac.KeyFiles{PublicKeyPath: at["configuration.pub"]}.Verifying()
	require.NoError(t, err)
	tokens, err := rbac.NewTokens(keys, rbac.Clock(func() time.Time { return testNow }))
	require.NoError(t, err)
	_, err = tokens.Verify(t.Context(), newToken(t, newTokens(t), "U1"))
	require.NoError(t, err)
}

func TestAPrivateKeyThatOthersMayReadIsWarnedOf(t *testing.T) {
	for _, tt := range []struct {
		mode fs.FileMode
		want bool
	}{{0o600, false}, {0o400, false}, {0o640, true}, {0o604, true}, {0o644, true}} {
		var out bytes.Buffer
		dir := folder(t, pkcs8(rsaKey()), spki(&rsaKey().PublicKey))
		path := filepath.Join(dir, "keys", "appkernel.pem")
		require.NoError(t, os.Chmod(path, tt.mode))
		files := rbac.KeyFiles{Config: dir, Logger: slog.New(slog.NewTextHandler(&out, nil))}
		_, err := files.Signing()
		require.NoError(t, err)
		require.Equal(t, tt.want, strings.Contains(out.String(), "others may read the private key"), tt.mode)
		require.Equal(t, tt.want, strings.Contains(out.String(), path), tt.mode)
		require.NotContains(t, out.String(), "PRIVATE KEY")
		out.Reset()
		_, err = files.Verifying()
		require.NoError(t, err)
		require.Empty(t, out.String(), "who verifies does not look at it")
	}
}

func TestNewKeysRefused(t *testing.T) {
	key, other, small := rsaKey(), otherRSA(), newRSA(1024)
	weak := &rsa.PublicKey{N: key.N, E: 3}
	for name, tt := range map[string]struct {
		private *rsa.PrivateKey
		public  []*rsa.PublicKey
	}{
		"none":                        {nil, nil},
		"a private one alone":         {key, nil},
		"a public one that is nil":    {nil, []*rsa.PublicKey{nil}},
		"a small one":                 {nil, []*rsa.PublicKey{&small.PublicKey}},
		"a weak one":                  {nil, []*rsa.PublicKey{weak}},
		"a private one of others":     {key, []*rsa.PublicKey{&other.PublicKey}},
		"a private one that is empty": {&rsa.PrivateKey{}, []*rsa.PublicKey{&key.PublicKey}},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := rbac.NewKeys(tt.private, tt.public...)
			require.ErrorIs(t, err, chansec.ErrInvalid)
			require.Equal(t, rbac.Keys{}, keys)
		})
	}
}
