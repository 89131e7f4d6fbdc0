package rbac

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/chansec/chansec/internal/token"
)

// algorithm is the only one (appkernel.md 3).
const algorithm = "RS256"

// Keys are RSA keys: one or more public ones that verify, each of which is tried, and one private one if tokens are made.
// They are immutable. However they are printed, they show nothing. The zero Keys are refused by [NewTokens].
type Keys struct {
	public  *token.KeySet
	private *token.Key
}

// NewKeys returns keys of at least 2048 bits. The private one may be nil; if it is not, it must belong to one of the public
// ones. It fails with a chansec.InvalidError.
func NewKeys(private *rsa.PrivateKey, public ...*rsa.PublicKey) (Keys, error) {
	var k Keys
	if private != nil {
		signs, err := token.NewSigningKey("", algorithm, private)
		if err != nil {
			return Keys{}, invalid("private key", "", wantedKey(err))
		}
		k.private = signs
	}
	list := make([]*token.Key, len(public))
	paired := private == nil
	for i, p := range public {
		verifies, err := token.NewVerifyKey("", algorithm, p)
		if err != nil {
			return Keys{}, invalid("public key", "", wantedKey(err))
		}
		list[i] = verifies
		paired = paired || p.Equal(&private.PublicKey)
	}
	set, err := token.NewKeySet(list...)
	if err != nil {
		return Keys{}, invalid("public keys", "", fmt.Sprintf("1 to %d of them", token.MaxKeys))
	}
	if !paired {
		return Keys{}, invalid("private key", "", "the one that belongs to a public key; this one does not")
	}
	k.public = set
	return k, nil
}

func wantedKey(err error) string {
	return "an RSA key of 2048 to 16384 bits (" + strings.TrimPrefix(err.Error(), "token: key refused: ") + ")"
}

// Format prints the name of the type only.
func (Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("rbac.Keys")) }

// The environment variables that say where the keys are.
const (
	PrivateKeyVariable = "APPKERNEL_PRIVATE_KEY_PATH"
	PublicKeyVariable  = "APPKERNEL_PUBLIC_KEY_PATH"
)

// KeyFiles says where the keys are (appkernel.md 3.3). For each of the two, a path in the environment ([PrivateKeyVariable],
// [PublicKeyVariable]) comes first, then the one here, then the file in the folder: keys/appkernel.pem and
// keys/appkernel.pub. Empty is not set. A path that is set and cannot be read is an error.
//
// Files are PEM, the private one a single unencrypted key in PKCS #8 or PKCS #1, the public one SPKI, PKCS #1 or a
// certificate, of which only the key counts. To rotate keys, put several in the public file: each is tried.
type KeyFiles struct {
	Config         string       // the folder that has the folder "keys" in it
	PrivateKeyPath string       // appkernel.security.private_key_path
	PublicKeyPath  string       // appkernel.security.public_key_path
	Logger         *slog.Logger // for warnings; nil is slog.Default()
}

// Verifying reads the public keys, which is all it takes to verify tokens. The error names the file and holds nothing of
// it: a chansec.InvalidError, or one of package os.
func (f KeyFiles) Verifying() (Keys, error) {
	public, err := f.public()
	if err != nil {
		return Keys{}, err
	}
	return NewKeys(nil, public...)
}

// Signing reads the private key as well, for those who make tokens. It warns if others may read the file.
func (f KeyFiles) Signing() (Keys, error) {
	public, err := f.public()
	if err != nil {
		return Keys{}, err
	}
	private, err := f.private()
	if err != nil {
		return Keys{}, err
	}
	return NewKeys(private, public...)
}

func (f KeyFiles) path(variable, configured, name string) string {
	return cmp.Or(os.Getenv(variable), configured, filepath.Join(f.Config, "keys", name))
}

func (f KeyFiles) public() ([]*rsa.PublicKey, error) {
	path := f.path(PublicKeyVariable, f.PublicKeyPath, "appkernel.pub")
	blocks, _, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	var list []*rsa.PublicKey
	for _, b := range blocks {
		var key crypto.PublicKey
		switch b.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(b.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(b.Bytes)
		case "CERTIFICATE":
			var certificate *x509.Certificate
			if certificate, err = x509.ParseCertificate(b.Bytes); err == nil {
				key = certificate.PublicKey
			}
		default:
			if strings.HasSuffix(b.Type, "PRIVATE KEY") {
				return nil, invalid("public key file", strconv.Quote(path), "no private key in it, which whoever verifies tokens must not have")
			}
			return nil, invalid("public key file", strconv.Quote(path), "PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE in PEM")
		}
		rsaKey, ok := key.(*rsa.PublicKey)
		if err != nil || !ok {
			return nil, invalid("public key file", strconv.Quote(path), "RSA keys that can be parsed") // the cause might quote the file
		}
		list = append(list, rsaKey)
	}
	return list, nil
}

func (f KeyFiles) private() (*rsa.PrivateKey, error) {
	path := f.path(PrivateKeyVariable, f.PrivateKeyPath, "appkernel.pem")
	blocks, mode, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	if mode.Perm()&0o044 != 0 && runtime.GOOS != "windows" { // where the bits do not say who may read
		log := f.Logger
		if log == nil {
			log = slog.Default()
		}
		log.Warn("rbac: others may read the private key", "path", path, "mode", mode.Perm().String())
	}
	if len(blocks) != 1 {
		return nil, invalid("private key file", strconv.Quote(path), "one key in it")
	}
	var key any
	switch b := blocks[0]; {
	case b.Type == "ENCRYPTED PRIVATE KEY", b.Headers["Proc-Type"] != "":
		return nil, invalid("private key file", strconv.Quote(path), "a key that is not encrypted")
	case b.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case b.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	default:
		return nil, invalid("private key file", strconv.Quote(path), "PRIVATE KEY or RSA PRIVATE KEY in PEM")
	}
	private, ok := key.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, invalid("private key file", strconv.Quote(path), "an RSA key that can be parsed") // the cause might quote the file
	}
	return private, nil
}

// maxKeyFile bounds a file of keys, which are a few KiB each.
const maxKeyFile = 256 << 10

// readPEM returns all the blocks of a file, none of which may be damaged, and its mode.
func readPEM(path string) ([]*pem.Block, fs.FileMode, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("rbac: key file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("rbac: key file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, 0, fmt.Errorf("rbac: key file: %w", err)
	}
	if len(text) > maxKeyFile {
		return nil, 0, invalid("key file", strconv.Quote(path), fmt.Sprintf("at most %d bytes", maxKeyFile))
	}
	var blocks []*pem.Block
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	if len(blocks) == 0 || len(blocks) != bytes.Count(text, []byte("-----BEGIN ")) {
		return nil, 0, invalid("key file", strconv.Quote(path), "PEM, and nothing of it damaged")
	}
	return blocks, info.Mode(), nil
}
