package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/identity"
)

// The values of --identity.
const (
	identityNone    = "none"
	identityHeader  = "header"
	identityJWT     = "jwt"
	identityForward = "forward"
)

func parseIdentityMode(s string) (string, error) {
	if !slices.Contains([]string{identityNone, identityHeader, identityJWT, identityForward}, s) {
		return "", errors.New("it must be none, header, jwt or forward")
	}
	return s, nil
}

// access is who may have what: everything that can change while a server runs.
type access struct {
	identity string
	trusted  prefixes

	jwt struct {
		secretFile                   string
		keyFiles                     []string
		jwksURL, cookie              string
		issuer, audience             string
		user, groups, site, channels string
		anonymous                    bool
	}
	auth struct {
		url     string
		headers []string
		timeout time.Duration
		cache   time.Duration
	}

	allow, deny identity.Patterns
	serverOnly  []string
}

func defaultAccess() access {
	a := access{identity: identityNone}
	a.jwt.user, a.jwt.groups, a.jwt.site, a.jwt.channels = "sub", "groups", "site", "channels"
	a.auth.timeout, a.auth.cache = 5*time.Second, 10*time.Second
	return a
}

func (a *access) addFlags(flags *pflag.FlagSet) {
	addFlag(flags, &a.identity, "identity", "MODE",
		"who sends a request: none, all are anonymous; header, by "+identity.HeaderName+" of a trusted proxy; jwt, by a token; forward, ask the application", parseIdentityMode)
	addFlag(flags, &a.trusted, "trusted-proxies", "CIDRS",
		"networks of the proxies that are believed: their X-Forwarded-For, and with --identity header who the client is; a Unix socket counts as 127.0.0.1", parsePrefixes)
	addString(flags, &a.jwt.secretFile, "jwt-secret-file", "FILE", "secret of HS256, 32 bytes or more")
	addList(flags, &a.jwt.keyFiles, "jwt-key", "FILE", "public keys in PEM form: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA", anyText)
	annotate(addString(flags, &a.jwt.jwksURL, "jwks-url", "URL", "key set of who signs; kept for 10 minutes, and fetched when a token names a new key"), maskedURLFlag)
	addString(flags, &a.jwt.cookie, "jwt-cookie", "NAME", "cookie with the token, for what has no Authorization: Bearer, as an EventSource has not")
	addString(flags, &a.jwt.issuer, "jwt-issuer", "TEXT", "what iss of a token must be")
	addString(flags, &a.jwt.audience, "jwt-audience", "TEXT", "what aud of a token must have; without it a token with aud is refused")
	addString(flags, &a.jwt.user, "jwt-user-claim", "NAME", "claim of the user, an integer or a string")
	addString(flags, &a.jwt.groups, "jwt-groups-claim", "NAME", "claim of the groups, a list")
	addString(flags, &a.jwt.site, "jwt-site-claim", "NAME", "claim of the site")
	addString(flags, &a.jwt.channels, "jwt-channels-claim", "NAME", "claim of the channels that are allowed, a list of patterns; without it all are")
	addSwitch(flags, &a.jwt.anonymous, "jwt-optional", "who has no token is anonymous, and not refused")
	annotate(addString(flags, &a.auth.url, "auth-url", "URL", "where the application says who sends a request, whose cookies and headers it is shown"), maskedURLFlag)
	addList(flags, &a.auth.headers, "auth-header", "NAME",
		"further header that the application is shown, beside Cookie, Authorization, User-Agent, Accept-Language, Origin and X-Forwarded-…", parseHeaderName)
	addFlag(flags, &a.auth.timeout, "auth-timeout", "D", "how long the application may take", duration(time.Millisecond))
	addFlag(flags, &a.auth.cache, "auth-cache", "D", "how long its answer is remembered for the same cookies and headers, a refusal at most 1s; 0s: not at all", duration(0))
	addList(flags, (*[]identity.Pattern)(&a.allow), "allow-channels", "PATTERN", "channels that clients may have, in which * stands for any characters; by default all", identity.ParsePattern)
	addList(flags, (*[]identity.Pattern)(&a.deny), "deny-channels", "PATTERN", "channels that they may not have, allowed or not", identity.ParsePattern)
	addList(flags, &a.serverOnly, "server-only", "PREFIX", "prefix of channels that no client may have", parseChannelPrefix)
}

func parseHeaderName(s string) (string, error) {
	name, _, err := parseHeader(s + ":")
	if err != nil || strings.Contains(s, ":") {
		return "", errors.New("it must be the name of a header, such as X-Tenant")
	}
	return name, nil
}

func parseChannelPrefix(s string) (string, error) {
	if !strings.HasPrefix(s, "/") || strings.Contains(s, "*") {
		return "", errors.New("it must begin with /, such as /internal/, and * has no meaning in it")
	}
	return s, nil
}

func (a *access) rules() identity.Rules {
	deny := slices.Clone(a.deny)
	for _, prefix := range a.serverOnly {
		deny = append(deny, identity.Pattern(prefix+"*"))
	}
	return identity.Rules{Allow: a.allow, Deny: deny}
}

// belongs says for which mode a setting is.
var belongs = map[string]string{"jwt": identityJWT, "jwks": identityJWT, "auth": identityForward}

// check returns what is wrong with how the settings fit together.
func (a *access) check(flags *pflag.FlagSet) (wrong mistakes) {
	flags.Visit(func(f *pflag.Flag) {
		family, _, _ := strings.Cut(f.Name, "-")
		if mode := belongs[family]; mode != "" && mode != a.identity {
			wrong = append(wrong, mistake(f, "it goes with the identity %s, which is %s", mode, a.identity))
		}
	})
	identityFlag := flags.Lookup("identity")
	switch {
	case a.identity == identityJWT && a.jwt.secretFile == "" && a.jwt.keyFiles == nil && a.jwt.jwksURL == "":
		wrong = append(wrong, mistake(identityFlag, "jwt needs keys: jwt-secret-file, jwt-key or jwks-url"))
	case a.identity == identityForward && a.auth.url == "":
		wrong = append(wrong, mistake(identityFlag, "forward needs auth-url"))
	}
	return wrong
}

// mistake is what is wrong with the value of a flag, and where that was set.
func mistake(f *pflag.Flag, format string, args ...any) error {
	where := originOf(f)
	if where == "" || where == "--"+f.Name {
		where = "--" + f.Name
	} else if !strings.HasPrefix(where, "MESSAGEBUS_") {
		where += ": " + f.Name
	}
	return fmt.Errorf("%s: "+format, append([]any{where}, args...)...)
}

// open makes the source of identities, reading the files that it needs. Close
// the source; nil: everybody is anonymous.
func (a *access) open(flags *pflag.FlagSet, log *slog.Logger) (identity.Source, mistakes) {
	switch a.identity {
	case identityHeader:
		return identity.Header{Trusted: a.trusted}, nil
	case identityJWT:
		return a.openToken(flags, log)
	case identityForward:
		if a.auth.url == "" {
			return nil, nil // which check has found
		}
		forward, err := identity.NewForward(identity.ForwardOptions{
			URL: a.auth.url, Headers: a.auth.headers, Timeout: a.auth.timeout, Keep: a.auth.cache, Trusted: a.trusted, Logger: log,
		})
		if err != nil {
			return nil, mistakes{mistake(flags.Lookup("auth-url"), "%w", err)}
		}
		return forward, nil
	default:
		return nil, nil
	}
}

func (a *access) openToken(flags *pflag.FlagSet, log *slog.Logger) (identity.Source, mistakes) {
	keys, wrong := a.readKeys(flags)
	token := &identity.Token{
		Keys: keys, Cookie: a.jwt.cookie, Anonymous: a.jwt.anonymous, Issuer: a.jwt.issuer, Audience: a.jwt.audience,
		UserClaim: a.jwt.user, GroupsClaim: a.jwt.groups, SiteClaim: a.jwt.site, ChannelsClaim: a.jwt.channels,
	}
	if a.jwt.jwksURL != "" {
		set, err := identity.NewKeySet(a.jwt.jwksURL, log)
		if err != nil {
			wrong = append(wrong, mistake(flags.Lookup("jwks-url"), "%w", err))
		}
		token.Set = set
	}
	if len(wrong) > 0 {
		token.Close()
		return nil, wrong
	}
	return token, nil
}

func (a *access) readKeys(flags *pflag.FlagSet) (keys []identity.Key, wrong mistakes) {
	if path := a.jwt.secretFile; path != "" {
		secret, err := readSecret(path)
		if err == nil {
			var key identity.Key
			if key, err = identity.SecretKey([]byte(secret)); err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
			keys = append(keys, key)
		}
		if err != nil {
			wrong = append(wrong, mistake(flags.Lookup("jwt-secret-file"), "%w", err))
		}
	}
	for _, path := range a.jwt.keyFiles {
		text, err := readSecret(path)
		if err == nil {
			var more []identity.Key
			if more, err = identity.ParsePEM([]byte(text)); err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
			keys = append(keys, more...)
		}
		if err != nil {
			wrong = append(wrong, mistake(flags.Lookup("jwt-key"), "%w", err))
		}
	}
	return keys, wrong
}
