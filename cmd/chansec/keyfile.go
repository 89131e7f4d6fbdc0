package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chansec/chansec"
)

// maxKeyBytes bounds files of keys.
const maxKeyBytes = 64 << 10

// material is what a key file holds.
type material struct {
	id, algorithm string // either may be empty
	secret        []byte // one of these
	private       crypto.Signer
	public        crypto.PublicKey
}

// jwk is a key in JSON (RFC 7517; 7518 section 6; 8037 section 2). All numbers are base64url without padding.
type jwk struct {
	Type      string `json:"kty"`
	ID        string `json:"kid,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	Use       string `json:"use,omitempty"`
	K         string `json:"k,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	D         string `json:"d,omitempty"`
	P         string `json:"p,omitempty"`
	Q         string `json:"q,omitempty"`
	DP        string `json:"dp,omitempty"`
	DQ        string `json:"dq,omitempty"`
	QI        string `json:"qi,omitempty"`
}

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// newJWK returns the JSON form of a key; of a pair its private or its public half.
func newJWK(m material, private bool) (jwk, error) {
	j := jwk{ID: m.id, Algorithm: m.algorithm, Use: "sig"}
	if m.algorithm == sealingAlgorithm {
		j.Use = "enc"
	}
	if m.secret != nil {
		j.Type, j.K = "oct", encode(m.secret)
		return j, nil
	}
	switch public := m.public.(type) {
	case ed25519.PublicKey:
		j.Type, j.Curve, j.X = "OKP", "Ed25519", encode(public)
		if key, ok := m.private.(ed25519.PrivateKey); ok && private {
			j.D = encode(key.Seed())
		}
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, and the two coordinates
		if err != nil {
			return jwk{}, err
		}
		half := (len(point) - 1) / 2
		j.Type, j.Curve, j.X, j.Y = "EC", public.Params().Name, encode(point[1:1+half]), encode(point[1+half:])
		if key, ok := m.private.(*ecdsa.PrivateKey); ok && private {
			d, err := key.Bytes()
			if err != nil {
				return jwk{}, err
			}
			j.D = encode(d)
		}
	case *rsa.PublicKey:
		j.Type, j.N, j.E = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
		if key, ok := m.private.(*rsa.PrivateKey); ok && private {
			key.Precompute()
			j.D, j.P, j.Q = encode(key.D.Bytes()), encode(key.Primes[0].Bytes()), encode(key.Primes[1].Bytes())
			j.DP, j.DQ, j.QI = encode(key.Precomputed.Dp.Bytes()), encode(key.Precomputed.Dq.Bytes()), encode(key.Precomputed.Qinv.Bytes())
		}
	default:
		return jwk{}, errors.New("a key of a kind that has no JSON form here")
	}
	return j, nil
}

// material reads the JSON form of a key. Its errors hold nothing of it.
func (j jwk) material() (material, error) {
	m := material{id: j.ID, algorithm: j.Algorithm}
	var wrong bool
	number := func(text string) []byte {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		wrong = wrong || err != nil || text == "" || strings.ContainsAny(text, "\r\n")
		return b
	}
	integer := func(text string) *big.Int { return new(big.Int).SetBytes(number(text)) }
	switch j.Type {
	case "oct":
		m.secret = number(j.K)
	case "OKP":
		x := number(j.X)
		if j.Curve != "Ed25519" || wrong || len(x) != ed25519.PublicKeySize {
			return material{}, errors.New("an OKP key must be a whole one on Ed25519")
		}
		m.public = ed25519.PublicKey(x)
		if j.D != "" {
			seed := number(j.D)
			if wrong || len(seed) != ed25519.SeedSize {
				return material{}, errors.New("the private half is not an Ed25519 seed")
			}
			key := ed25519.NewKeyFromSeed(seed)
			if !key.Public().(ed25519.PublicKey).Equal(m.public) {
				return material{}, errors.New("the private half does not fit the public one")
			}
			m.private = key
		}
	case "EC":
		curve, x, y := curves[j.Curve], number(j.X), number(j.Y)
		if curve == nil || wrong {
			return material{}, errors.New("an EC key must be a whole one on P-256, P-384 or P-521")
		}
		size := (curve.Params().BitSize + 7) / 8
		if len(x) != size || len(y) != size {
			return material{}, errors.New("a coordinate of the EC key has not the length that its curve has")
		}
		public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return material{}, errors.New("the EC key is no point on its curve")
		}
		m.public = public
		if j.D != "" {
			key, err := ecdsa.ParseRawPrivateKey(curve, number(j.D))
			if err != nil || !key.PublicKey.Equal(public) {
				return material{}, errors.New("the private half does not fit the public one")
			}
			m.private = key
		}
	case "RSA":
		n, e := integer(j.N), integer(j.E)
		if wrong || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return material{}, errors.New("the RSA key is not whole")
		}
		public := &rsa.PublicKey{N: n, E: int(e.Int64())}
		m.public = public
		if j.D != "" {
			key := &rsa.PrivateKey{PublicKey: *public, D: integer(j.D), Primes: []*big.Int{integer(j.P), integer(j.Q)}}
			if wrong || key.Validate() != nil {
				return material{}, errors.New("the private half of the RSA key is not whole, or does not fit the public one")
			}
			m.private = key
		}
	default:
		return material{}, fmt.Errorf("kty %s: want oct, OKP, EC or RSA", quoted(j.Type))
	}
	if wrong {
		return material{}, errors.New("a number of the key is not base64url without padding")
	}
	return m, nil
}

// parseKey reads a key in JSON or PEM.
func parseKey(text []byte) (material, error) {
	trimmed := strings.TrimSpace(string(text))
	if strings.HasPrefix(trimmed, "{") {
		var j jwk
		d := json.NewDecoder(strings.NewReader(trimmed))
		if err := d.Decode(&j); err != nil {
			return material{}, errors.New("it is not the JSON of a key (JWK)")
		}
		if _, err := d.Token(); err != io.EOF {
			return material{}, errors.New("there is more than one key in it")
		}
		return j.material()
	}
	block, rest := pem.Decode([]byte(trimmed))
	if block == nil {
		return material{}, errors.New("it is neither a JSON key (JWK) nor PEM")
	}
	if len(strings.TrimSpace(string(rest))) > 0 {
		return material{}, errors.New("there is more than one PEM block in it")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return material{}, fmt.Errorf("a PEM block %s: want PRIVATE KEY or PUBLIC KEY", quoted(block.Type))
	}
	if err != nil {
		return material{}, errors.New("its PEM block is damaged, encrypted, or a key of a kind that signs nothing")
	}
	if signer, ok := key.(crypto.Signer); ok {
		return material{private: signer, public: signer.Public()}, nil
	}
	return material{public: key}, nil
}

// key makes the key that chansec uses, for an algorithm and an ID of which the file may say nothing.
func (m material) key(algorithm, id string) (chansec.Key, error) {
	switch {
	case algorithm == "":
		algorithm = m.algorithm
	case m.algorithm != "" && m.algorithm != algorithm:
		return chansec.Key{}, fmt.Errorf("the key is for %s, not for %s", quoted(m.algorithm), algorithm)
	}
	if algorithm == "" {
		switch public := m.public.(type) {
		case nil:
			algorithm = "HS256"
		case ed25519.PublicKey:
			algorithm = "EdDSA"
		case *ecdsa.PublicKey:
			algorithm = map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[public.Params().Name]
		case *rsa.PublicKey:
			algorithm = "RS256"
		}
	}
	if id == "" {
		id = m.id
	}
	switch {
	case m.secret != nil:
		return chansec.HMACKey(id, algorithm, m.secret)
	case m.private != nil:
		return chansec.SigningKey(id, algorithm, m.private)
	default:
		return chansec.VerifyKey(id, algorithm, m.public)
	}
}

// loadKey reads the file of a key that signs or verifies.
func (p *program) loadKey(ctx context.Context, file, algorithm, id string) (material, chansec.Key, error) {
	if file == "" {
		return material{}, chansec.Key{}, misused("make one with chansec key new", "--key FILE is missing")
	}
	m, err := p.loadMaterial(ctx, file)
	if err != nil {
		return material{}, chansec.Key{}, err
	}
	key, err := m.key(algorithm, id)
	if err != nil {
		err = fmt.Errorf("key file %s: %w", quoted(file), err)
		if algorithm+id != "" { // which were said on the command line
			err = invalidIsMisuse(err)
		}
		return material{}, chansec.Key{}, err
	}
	return m, key, nil
}

// loadMaterial reads a key file, and warns if others can read a secret one.
func (p *program) loadMaterial(ctx context.Context, file string) (material, error) {
	if strings.HasPrefix(strings.TrimSpace(file), "{") || strings.Contains(file, "-----BEGIN") {
		return material{}, misused("name the file that holds it", "a key is a secret, and arguments can be read by others")
	}
	text, err := p.readFile(ctx, file, maxKeyBytes)
	if err != nil {
		return material{}, err
	}
	m, err := parseKey(text)
	if err != nil {
		return material{}, fmt.Errorf("key file %s: %w", quoted(file), err)
	}
	if m.secret != nil || m.private != nil {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
			p.complain(fmt.Sprintf("warning: other users may read the key in %s (mode %04o): chmod 600", quoted(file), info.Mode().Perm()))
		}
	}
	return m, nil
}

// usable returns why nothing can be done with a key.
func (m material) usable() (err error) {
	if m.algorithm == sealingAlgorithm {
		_, err = m.sealingKey()
		return err
	}
	_, err = m.key("", "")
	return err
}

// keyKinds are the kinds of keys that can be made.
var keyKinds = []string{"hs256", "ed25519", "es256", "rs256", "a256gcm"}

func newMaterial(kind, id string) (m material, err error) {
	m.id = id
	switch kind {
	case "hs256":
		m.algorithm, m.secret = "HS256", make([]byte, 32)
		_, err = rand.Read(m.secret)
		return m, err
	case "a256gcm":
		m.algorithm, m.secret = sealingAlgorithm, make([]byte, 32)
		if id == "" { // which rows remember
			m.id = strings.ToLower(rand.Text()[:8])
		}
		_, err = rand.Read(m.secret)
		return m, err
	case "ed25519":
		m.algorithm = "EdDSA"
		_, m.private, err = ed25519.GenerateKey(rand.Reader)
	case "es256":
		m.algorithm = "ES256"
		m.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rs256":
		m.algorithm = "RS256"
		m.private, err = rsa.GenerateKey(rand.Reader, 3072)
	}
	if err == nil {
		m.public = m.private.Public()
	}
	return m, err
}

// text returns the file of a key; of a pair its private or its public half.
func (m material) text(format string, private bool) ([]byte, error) {
	if format == "pem" {
		kind, der, err := "PUBLIC KEY", []byte(nil), error(nil)
		if private {
			kind = "PRIVATE KEY"
			der, err = x509.MarshalPKCS8PrivateKey(m.private)
		} else {
			der, err = x509.MarshalPKIXPublicKey(m.public)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), err
	}
	j, err := newJWK(m, private)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(j, "", "  ")
	return append(text, '\n'), err
}

func (p *program) keyCommand() *cobra.Command {
	group := p.group("key", "Make keys that sign and verify tokens, or seal what logs users in", "  chansec key new ed25519 --out signing.jwk")
	group.AddCommand(p.keyNewCommand())
	return group
}

func (p *program) keyNewCommand() *cobra.Command {
	var out, public, format, id string
	cmd := &cobra.Command{Use: "new KIND --out FILE", Short: "Make a key, in a file that only its owner may read",
		Long: `Make a key in a file that only its owner may read. KIND is one of

  hs256    a secret of 32 bytes, for those who both make and check tokens
  ed25519  a pair of keys; who only checks tokens needs the public half
  es256    a pair on the curve P-256
  rs256    a pair of RSA keys of 3072 bits
  a256gcm  a secret of 32 bytes that encrypts what logs users in, in a database (serve, --sealing-key)

The public half of a pair goes to a second file. Files that are there are never overwritten.`,
		Example: "  chansec key new hs256 --out secret.jwk\n  chansec key new ed25519 --out signing.pem --public verify.pem --format pem",
		Args:    exactly("KIND"), ValidArgs: keyKinds, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := strings.ToLower(args[0])
			pair := kind != "hs256" && kind != "a256gcm"
			switch {
			case !slices.Contains(keyKinds, kind):
				return notOneOf("KIND", args[0], keyKinds)
			case format != "jwk" && format != "pem":
				return notOneOf("--format", format, []string{"jwk", "pem"})
			case out == "" || out == "-":
				return misused("keys are written to files, never to the screen", "--out FILE is missing")
			case !pair && format == "pem":
				return misused("leave --format out: a secret has a JSON form only", "there is no PEM of a secret")
			case !pair && public != "":
				return misused("it is one key, which is secret; ed25519 has two", "there is no public half of a secret")
			case pair && public == "":
				public = strings.TrimSuffix(out, filepath.Ext(out)) + ".pub" + filepath.Ext(out)
			}
			bar := p.progress("looking for primes", -1)
			m, err := newMaterial(kind, id)
			bar.end()
			if err != nil {
				return err
			}
			if err := m.usable(); err != nil { // the ID may be impossible
				return invalidIsMisuse(err)
			}
			private, err := m.text(format, true)
			if err != nil {
				return err
			}
			if err := createFile(out, private, 0o600); err != nil {
				return err
			}
			if pair {
				text, err := m.text(format, false)
				if err == nil {
					err = createFile(public, text, 0o644)
				}
				if err != nil {
					return errors.Join(err, os.Remove(out))
				}
			}
			return p.show(struct {
				Algorithm string `json:"algorithm"`
				ID        string `json:"kid,omitempty"`
				File      string `json:"file"`
				Public    string `json:"public,omitempty"`
			}{m.algorithm, m.id, out, public}, fields("algorithm", m.algorithm, "kid", m.id, "secret", out, "public", public))
		}}
	cmd.Flags().StringVarP(&out, "out", "o", "", "the file to make")
	cmd.Flags().StringVar(&public, "public", "", "the file of the public half (default: that of --out, with .pub in its name)")
	cmd.Flags().StringVar(&format, "format", "jwk", "jwk or pem")
	completes(cmd, "format", "jwk", "pem")
	cmd.Flags().StringVar(&id, "id", "", "the key's ID (kid), which its tokens, or what it seals, then name")
	return cmd
}

// createFile makes a file that is not there yet, and is there as a whole or not at all.
func createFile(name string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and is not overwritten", quoted(name))
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
