package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// The algorithms that are accepted. A key has one of them, whatever a token
// says: so none can be verified by another one.
var algorithms = []jose.SignatureAlgorithm{jose.HS256, jose.RS256, jose.ES256, jose.EdDSA}

const (
	minSecretBytes = 32 // RFC 7518, 3.2: as long as the hash
	minRSABits     = 2048
	maxKeys        = 100 // of one source
)

// A Key verifies tokens of one algorithm.
type Key struct {
	id        string // as the token's header names it; empty: of no name
	algorithm jose.SignatureAlgorithm
	material  any
}

// SecretKey returns the key of HS256.
func SecretKey(secret []byte) (Key, error) {
	if len(secret) < minSecretBytes {
		return Key{}, fmt.Errorf("the secret has %d bytes; HS256 needs %d or more", len(secret), minSecretBytes)
	}
	return Key{algorithm: jose.HS256, material: secret}, nil
}

// ParsePEM returns the public keys in PEM blocks: RSA, ECDSA on P-256, Ed25519,
// plain or in certificates. A private key is refused: it has no business here.
func ParsePEM(text []byte) ([]Key, error) {
	var keys []Key
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		public, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		key, err := publicKey(public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no public key in PEM form (-----BEGIN PUBLIC KEY-----)")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (any, error) {
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = certificate.PublicKey
		}
	default:
		err = fmt.Errorf("a block of type %q; it must be PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE", block.Type)
	}
	return public, err
}

// publicKey finds the one algorithm that is accepted of a public key.
func publicKey(public any) (Key, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return Key{}, fmt.Errorf("an RSA key of %d bits; %d or more are accepted", k.N.BitLen(), minRSABits)
		}
		return Key{algorithm: jose.RS256, material: k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("an elliptic curve %s; P-256 is accepted", k.Curve.Params().Name)
		}
		return Key{algorithm: jose.ES256, material: k}, nil
	case ed25519.PublicKey:
		return Key{algorithm: jose.EdDSA, material: k}, nil
	default:
		return Key{}, fmt.Errorf("a key of type %T; RSA, ECDSA on P-256 and Ed25519 are accepted", public)
	}
}

// fits reports whether a token that names an algorithm and a key may have been
// signed with k. Where one of both has no name for the key, it may.
func (k Key) fits(algorithm jose.SignatureAlgorithm, id string) bool {
	return k.algorithm == algorithm && (k.id == "" || id == "" || k.id == id)
}

// fixed are keys that are known.
type fixed []Key

// find finds the keys that a token may have been signed with.
func (f fixed) find(algorithm jose.SignatureAlgorithm, id string) []Key {
	var found []Key
	for _, k := range f {
		if k.fits(algorithm, id) {
			found = append(found, k)
		}
	}
	return found
}
