package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
)

const (
	// maxTokenBytes is enough for those with hundreds of groups.
	maxTokenBytes = 16 << 10
	// clockSkew is how far the clock of who signs may be ahead.
	clockSkew = 30 * time.Second
	// maxTries is how many keys a token is tried with that names none.
	maxTries = 10
)

// Token takes the identity from a JSON Web Token (RFC 7519), signed with HS256,
// RS256, ES256 or EdDSA, in "Authorization: Bearer" or a cookie.
type Token struct {
	Keys []Key   // that were given
	Set  *KeySet // further ones; may be nil

	Cookie    string // the cookie that has the token where there is no header; empty: none
	Anonymous bool   // without a token a request is anonymous, and not refused

	Issuer   string // wanted in "iss"; empty: any
	Audience string // wanted in "aud"; empty: a token with an audience is not for us

	// The claims of who it is. A user is an integer or a string, groups are a
	// list of them, channels a list of patterns.
	UserClaim, GroupsClaim, SiteClaim, ChannelsClaim string

	Now func() time.Time // default time.Now
}

// Identify implements Source.
func (t *Token) Identify(r *http.Request) (Identity, error) {
	token, found := t.token(r)
	switch {
	case !found && t.Anonymous:
		return Identity{}, nil
	case !found:
		return Identity{}, &Error{Status: http.StatusUnauthorized, Reason: "a token is needed", Challenge: `Bearer realm="messagebus"`}
	}
	payload, err := t.verify(r.Context(), token)
	if err != nil {
		return Identity{}, err
	}
	return t.read(payload)
}

// Close implements Source.
func (t *Token) Close() {
	if t.Set != nil {
		t.Set.Close()
	}
}

// token returns the token of a request. A wrong one is found as well: it must
// not make a request anonymous.
func (t *Token) token(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) > 0 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return "", true
		}
		return strings.Trim(token, " "), true
	}
	if t.Cookie == "" {
		return "", false
	}
	cookies := r.CookiesNamed(t.Cookie)
	switch len(cookies) {
	case 0:
		return "", false
	case 1:
		return cookies[0].Value, true
	default: // one of them may have been planted by a neighbouring host
		return "", true
	}
}

// invalid is the one answer to every token that is wrong; what is wrong with it
// is for the log.
func invalid(cause error) *Error {
	return &Error{
		Status: http.StatusUnauthorized, Reason: "the token is not valid",
		Challenge: `Bearer realm="messagebus", error="invalid_token", error_description="the token is not valid"`, Cause: cause,
	}
}

func expired() *Error {
	return &Error{
		Status: http.StatusUnauthorized, Reason: "the token has expired",
		Challenge: `Bearer realm="messagebus", error="invalid_token", error_description="the token has expired"`,
		Cause:     errors.New("it has expired"),
	}
}

// verify returns what a token says, if it was signed with one of the keys.
func (t *Token) verify(ctx context.Context, token string) ([]byte, error) {
	if len(token) > maxTokenBytes {
		return nil, invalid(fmt.Errorf("it has %d bytes; at most %d are accepted", len(token), maxTokenBytes))
	}
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, invalid(errors.New("it cannot be read, or is not signed with HS256, RS256, ES256 or EdDSA"))
	}
	header := signed.Signatures[0].Protected
	algorithm := jose.SignatureAlgorithm(header.Algorithm)
	found, err := t.find(ctx, algorithm, header.KeyID)
	if err != nil {
		return nil, err
	}
	for _, k := range found[:min(len(found), maxTries)] {
		if payload, err := signed.Verify(k.material); err == nil {
			return payload, nil
		}
	}
	return nil, invalid(fmt.Errorf("none of %d keys for %s has signed it", len(found), algorithm))
}

func (t *Token) find(ctx context.Context, algorithm jose.SignatureAlgorithm, id string) ([]Key, error) {
	found := fixed(t.Keys).find(algorithm, id)
	if t.Set == nil || algorithm == jose.HS256 {
		return found, nil
	}
	more, err := t.Set.find(ctx, algorithm, id)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && len(found) == 0:
		return nil, unavailable(err)
	}
	return append(found, more...), nil
}

// read checks the claims of a token that was verified, and returns whom they
// name. It must have an end.
func (t *Token) read(payload []byte) (Identity, error) {
	claims, err := strictjson.Object(payload)
	if err != nil {
		return Identity{}, invalid(err)
	}
	var id Identity
	for _, claim := range []struct { // not a map: two of them may have one name
		name string
		read func(json.RawMessage) error
	}{
		{"exp", strictjson.Into(&id.Expires, decodeTime)},
		{"nbf", t.checkStart},
		{"iss", t.checkIssuer},
		{"aud", t.checkAudience},
		{t.UserClaim, orNull(strictjson.Into(&id.UserID, strictjson.ID))},
		{t.GroupsClaim, strictjson.Into(&id.GroupIDs, strictjson.IDs)},
		{t.SiteClaim, siteOf(&id)},
		{t.ChannelsClaim, strictjson.Into(&id.Channels, decodePatterns)},
	} {
		if raw := claims[claim.name]; raw != nil {
			if err := claim.read(raw); err != nil {
				return Identity{}, invalid(fmt.Errorf("%s: %w", claim.name, err))
			}
		}
	}
	switch {
	case id.Expires.IsZero():
		return Identity{}, invalid(errors.New("exp is missing: it would be valid for ever"))
	case !t.now().Before(id.Expires):
		return Identity{}, expired()
	case t.Issuer != "" && claims["iss"] == nil:
		return Identity{}, invalid(errors.New("iss is missing"))
	case t.Audience != "" && claims["aud"] == nil:
		return Identity{}, invalid(errors.New("aud is missing"))
	}
	return id, nil
}

func (t *Token) now() time.Time {
	if t.Now == nil {
		return time.Now()
	}
	return t.Now()
}

func (t *Token) checkStart(raw json.RawMessage) error {
	start, err := decodeTime(raw)
	if err == nil && start.After(t.now().Add(clockSkew)) {
		err = errors.New("it is not valid yet")
	}
	return err
}

func (t *Token) checkIssuer(raw json.RawMessage) error {
	issuer, err := strictjson.String(raw)
	if err == nil && t.Issuer != "" && issuer != t.Issuer {
		err = errors.New("it is of another issuer")
	}
	return err
}

// checkAudience takes a string or a list of strings (RFC 7519, 4.1.3).
func (t *Token) checkAudience(raw json.RawMessage) error {
	audience, err := strictjson.Strings(raw)
	if one, e := strictjson.String(raw); e == nil {
		audience, err = []string{one}, nil
	}
	switch {
	case err != nil:
		return err
	case t.Audience == "":
		return errors.New("it is for an audience, and ours is not configured")
	case !slices.Contains(audience, t.Audience):
		return errors.New("it is for another audience")
	}
	return nil
}
