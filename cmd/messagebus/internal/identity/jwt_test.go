package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/messagebus-go/messagebus/bus"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

type signers struct {
	rsa, otherRSA *rsa.PrivateKey
	ec            *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
}

var testKeys = sync.OnceValue(func() *signers {
	s := &signers{}
	var err error
	check := func() {
		if err != nil {
			panic(err)
		}
	}
	s.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	check()
	s.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	check()
	s.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check()
	_, s.ed, err = ed25519.GenerateKey(rand.Reader)
	check()
	return s
})

func publicPEM(t *testing.T, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// sign signs a payload with the library itself.
func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, kid, payload string, opts *jose.SignerOptions) string {
	t.Helper()
	if opts == nil {
		opts = &jose.SignerOptions{}
	}
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forge makes a token with any header, signed by HMAC with any key.
func forge(header, payload string, key []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

var testNow = time.Unix(1_800_000_000, 0)

const goodClaims = `{"sub":"ann","groups":[1,"staff"],"site":"a","channels":["/a/*"],"exp":1800000060}`

func testToken(t *testing.T, keys ...Key) *Token {
	t.Helper()
	return &Token{
		Keys: keys, UserClaim: "sub", GroupsClaim: "groups", SiteClaim: "site", ChannelsClaim: "channels",
		Now: func() time.Time { return testNow },
	}
}

func allKeys(t *testing.T) []Key {
	t.Helper()
	s := testKeys()
	hs, err := SecretKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParsePEM(append(append(publicPEM(t, s.rsa.Public()), publicPEM(t, s.ec.Public())...), publicPEM(t, s.ed.Public())...))
	if err != nil {
		t.Fatal(err)
	}
	return append(keys, hs)
}

func TestToken_IsWhoItsClaimsName(t *testing.T) {
	t.Parallel()
	s := testKeys()
	source := testToken(t, allKeys(t)...)
	for algorithm, key := range map[jose.SignatureAlgorithm]any{jose.HS256: secret, jose.RS256: s.rsa, jose.ES256: s.ec, jose.EdDSA: s.ed} {
		id, err := source.Identify(request(t, "Authorization", "bearer "+sign(t, algorithm, key, "", goodClaims, nil)))
		if err != nil || id.UserID != bus.StringID("ann") || len(id.GroupIDs) != 2 || id.Site != "a" || len(id.Channels) != 1 || id.Expires.Unix() != 1800000060 {
			t.Errorf("%s: %+v, %v", algorithm, id, err)
		}
	}
	source.UserClaim = "uid"
	id, err := source.Identify(request(t, "Authorization", "Bearer "+sign(t, jose.HS256, secret, "", `{"sub":"x","uid":5,"exp":1800000060.5}`, nil)))
	if err != nil || id.UserID != bus.IntID(5) || id.Channels != nil {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestToken_RefusesEveryOther(t *testing.T) {
	t.Parallel()
	s := testKeys()
	rsaPEM := publicPEM(t, s.rsa.Public())
	hs := func(claims string) string { return sign(t, jose.HS256, secret, "", claims, nil) }
	good := hs(goodClaims)
	parts := strings.Split(good, ".")
	embedded := &jose.SignerOptions{EmbedJWK: true}
	tests := map[string]string{
		"empty":                     "",
		"words":                     "not a token",
		"alg none":                  base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"alg None":                  base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None"}`)) + "." + parts[1] + "." + parts[2],
		"no alg":                    forge(`{}`, goodClaims, secret),
		"alg of the wrong case":     forge(`{"alg":"hs256"}`, goodClaims, secret),
		"public key as secret":      forge(`{"alg":"HS256"}`, goodClaims, rsaPEM),
		"public key as secret, DER": forge(`{"alg":"HS256"}`, goodClaims, x509.MarshalPKCS1PublicKey(&s.rsa.PublicKey)),
		"empty secret":              forge(`{"alg":"HS256"}`, goodClaims, nil),
		"RS256 with an HMAC":        forge(`{"alg":"RS256"}`, goodClaims, secret),
		"EdDSA with an HMAC":        forge(`{"alg":"EdDSA"}`, goodClaims, secret),
		"HS384":                     sign(t, jose.HS384, append(secret, secret...), "", goodClaims, nil),
		"PS256":                     sign(t, jose.PS256, s.rsa, "", goodClaims, nil),
		"another RSA key":           sign(t, jose.RS256, s.otherRSA, "", goodClaims, nil),
		"its own key":               sign(t, jose.RS256, s.otherRSA, "", goodClaims, embedded),
		"a URL of keys":             forge(`{"alg":"HS256","jku":"http://127.0.0.1:1/"}`, goodClaims, []byte("x")),
		"critical header":           forge(`{"alg":"HS256","crit":["exp"],"exp":1}`, goodClaims, secret),
		"without a signature":       parts[0] + "." + parts[1] + ".",
		"two parts":                 parts[0] + "." + parts[1],
		"other claims":              parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root","exp":1800000060}`)) + "." + parts[2],
		"five parts":                good + ".x.y",
		"JSON form":                 `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"huge":                      hs(`{"sub":"` + strings.Repeat("x", maxTokenBytes) + `","exp":1800000060}`),
		"expired":                   hs(`{"sub":"ann","exp":1799999999}`),
		"expires now":               hs(`{"sub":"ann","exp":1800000000}`),
		"never expires":             hs(`{"sub":"ann"}`),
		"expires null":              hs(`{"sub":"ann","exp":null}`),
		"expires text":              hs(`{"sub":"ann","exp":"1800000060"}`),
		"expires beyond all":        hs(`{"sub":"ann","exp":1e300}`),
		"not yet":                   hs(`{"sub":"ann","exp":1800000060,"nbf":1800000040}`),
		"for somebody else":         hs(`{"sub":"ann","exp":1800000060,"aud":"other"}`),
		"user twice":                hs(`{"sub":"ann","sub":"root","exp":1800000060}`),
		"user list":                 hs(`{"sub":["ann"],"exp":1800000060}`),
		"user fraction":             hs(`{"sub":1.5,"exp":1800000060}`),
		"site escape":               hs(`{"sub":"ann","site":"a$|$b","exp":1800000060}`),
		"channels null":             hs(`{"sub":"ann","channels":null,"exp":1800000060}`),
		"channels wrong":            hs(`{"sub":"ann","channels":["a"],"exp":1800000060}`),
		"no object":                 hs(`["sub"]`),
		"no JSON":                   hs(`sub`),
	}
	source := testToken(t, allKeys(t)...)
	for name, token := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := source.Identify(request(t, "Authorization", "Bearer "+token))
			refusal := wantError(t, err, http.StatusUnauthorized)
			if name != "expires now" && name != "expired" && refusal.Reason != "the token is not valid" {
				t.Errorf("it says %q", refusal.Reason)
			}
			if !id.UserID.IsZero() {
				t.Errorf("identity %+v", id)
			}
			for part := range strings.SplitSeq(token, ".") {
				if len(part) > 10 && strings.Contains(fmt.Sprint(refusal.Reason, refusal.Challenge, refusal.Cause), part) {
					t.Errorf("an error repeats the token: %v", refusal.Cause)
				}
			}
		})
	}
	if _, err := source.Identify(request(t, "Authorization", "Bearer "+good)); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// A key of one kind must not verify what says to be of another, whichever keys
// are configured.
func TestToken_AKeyHasOneAlgorithm(t *testing.T) {
	t.Parallel()
	s := testKeys()
	rsaPEM := publicPEM(t, s.rsa.Public())
	only, err := ParsePEM(rsaPEM)
	if err != nil {
		t.Fatal(err)
	}
	_, err = testToken(t, only...).Identify(request(t, "Authorization", "Bearer "+forge(`{"alg":"HS256"}`, goodClaims, rsaPEM)))
	wantError(t, err, http.StatusUnauthorized)
	wrong, err := SecretKey(rsaPEM) // an operator's mistake
	if err != nil {
		t.Fatal(err)
	}
	_, err = testToken(t, wrong).Identify(request(t, "Authorization", "Bearer "+sign(t, jose.RS256, s.rsa, "", goodClaims, nil)))
	wantError(t, err, http.StatusUnauthorized)
}

func TestKey_FitsOneAlgorithmAndItsName(t *testing.T) {
	t.Parallel()
	k := Key{id: "one", algorithm: jose.RS256}
	for _, test := range []struct {
		algorithm jose.SignatureAlgorithm
		id        string
		want      bool
	}{
		{jose.RS256, "one", true}, {jose.RS256, "", true}, {jose.RS256, "two", false}, {jose.HS256, "one", false}, {jose.ES256, "", false}, {"none", "one", false},
	} {
		if k.fits(test.algorithm, test.id) != test.want {
			t.Errorf("%s %q: %v", test.algorithm, test.id, !test.want)
		}
	}
}

func TestToken_IssuerAndAudience(t *testing.T) {
	t.Parallel()
	source := testToken(t, allKeys(t)...)
	source.Issuer, source.Audience = "https://id.example", "bus"
	for claims, good := range map[string]bool{
		`"iss":"https://id.example","aud":"bus"`:       true,
		`"iss":"https://id.example","aud":["x","bus"]`: true,
		`"iss":"https://id.example"`:                   false,
		`"aud":"bus"`:                                  false,
		`"iss":"https://id.example.evil","aud":"bus"`:  false,
		`"iss":"https://id.example","aud":"BUS"`:       false,
		`"iss":"https://id.example","aud":["bus",1]`:   false,
		`"iss":["https://id.example"],"aud":"bus"`:     false,
		`"iss":"https://id.example","aud":[]`:          false,
		`"iss":null,"aud":"bus"`:                       false,
		`"iss":"https://id.example","aud":null`:        false,
	} {
		token := sign(t, jose.HS256, secret, "", `{"sub":"ann","exp":1800000060,`+claims+`}`, nil)
		if _, err := source.Identify(request(t, "Authorization", "Bearer "+token)); (err == nil) != good {
			t.Errorf("%s: %v", claims, err)
		}
	}
	source.UserClaim = "iss" // which must not switch its check off
	token := sign(t, jose.HS256, secret, "", `{"iss":"root","aud":"bus","exp":1800000060}`, nil)
	_, err := source.Identify(request(t, "Authorization", "Bearer "+token))
	wantError(t, err, http.StatusUnauthorized)
}

func TestToken_WhereItStands(t *testing.T) {
	t.Parallel()
	good := sign(t, jose.HS256, secret, "", goodClaims, nil)
	tests := []struct {
		name      string
		headers   []string
		cookie    string
		anonymous bool
		status    int // 0: known, 1: anonymous
	}{
		{"nothing", nil, "", false, 401},
		{"nothing, which is allowed", nil, "", true, 1},
		{"another scheme", []string{"Authorization", "Basic eDp5"}, "", true, 401},
		{"an empty header", []string{"Authorization", ""}, "", true, 401},
		{"two headers", []string{"Authorization", "Bearer " + good, "Authorization", "Bearer " + good}, "", true, 401},
		{"cookie", []string{"Cookie", "x=y; token=" + good}, "token", false, 0},
		{"a cookie that is not asked for", []string{"Cookie", "token=" + good}, "", false, 401},
		{"cookie twice", []string{"Cookie", "token=" + good + "; token=" + good}, "token", true, 401},
		{"a bad cookie", []string{"Cookie", "token=x"}, "token", true, 401},
		{"a bad header and a good cookie", []string{"Authorization", "Bearer x", "Cookie", "token=" + good}, "token", true, 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			source := testToken(t, allKeys(t)...)
			source.Cookie, source.Anonymous = test.cookie, test.anonymous
			id, err := source.Identify(request(t, test.headers...))
			switch {
			case test.status > 1:
				wantError(t, err, test.status)
			case err != nil || id.UserID.IsZero() != (test.status == 1):
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}

func TestParsePEM_RefusesWhatIsNoGoodKey(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(testKeys().ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"empty": nil, "words": []byte("words"), "short RSA": publicPEM(t, small.Public()), "P-384": publicPEM(t, other.Public()),
		"private key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"broken":      pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		if keys, err := ParsePEM(text); err == nil {
			t.Errorf("%s: %v", name, keys)
		}
	}
	if _, err := SecretKey(secret[:31]); err == nil {
		t.Error("a short secret is accepted")
	}
}

// FuzzToken: whatever stands in a token, it is refused in one way or names
// somebody by claims that were signed.
func FuzzToken(f *testing.F) {
	f.Add(`{"alg":"HS256"}`, goodClaims, true)
	f.Add(`{"alg":"none"}`, goodClaims, false)
	f.Add(`{"alg":"HS256","crit":["b64"],"b64":false}`, goodClaims, true)
	f.Add(`{"alg":"HS256","kid":"x","jwk":{"kty":"oct","k":"AA"}}`, goodClaims, false)
	key, err := SecretKey(secret)
	if err != nil {
		f.Fatal(err)
	}
	source := &Token{
		Keys: []Key{key}, UserClaim: "sub", GroupsClaim: "groups", SiteClaim: "site", ChannelsClaim: "channels",
		Now: func() time.Time { return testNow },
	}
	f.Fuzz(func(t *testing.T, header, payload string, signed bool) {
		signer := []byte("somebody else's secret, which is long")
		if signed {
			signer = secret
		}
		id, err := source.Identify(request(t, "Authorization", "Bearer "+forge(header, payload, signer)))
		if err != nil {
			wantError(t, err, http.StatusUnauthorized)
			return
		}
		var claims map[string]any
		if !signed || json.Unmarshal([]byte(payload), &claims) != nil || !id.Expires.After(testNow) {
			t.Errorf("accepted: %q %q as %+v", header, payload, id)
		}
	})
}
