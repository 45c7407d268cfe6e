// Command chi serves the bus among the routes of chi, to those who have a token.
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/golang-jwt/jwt/v5"
	"github.com/golang-jwt/jwt/v5/request"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/examples/internal/serve"
	"github.com/messagebus-go/messagebus/transport"
)

func main() {
	key := []byte(rand.Text())
	token, err := issue(key, "ann", time.Hour)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "Authorization: Bearer "+token)
	serve.Main(func(b *bus.Bus) (http.Handler, *transport.Handler, error) { return newSite(b, key) })
}

func newSite(b *bus.Bus, key []byte) (http.Handler, *transport.Handler, error) {
	messages, err := transport.NewHandler(b, &transport.Options{
		Identify: func(r *http.Request) (transport.Identity, error) { return identify(r, key) },
	})
	if err != nil {
		return nil, nil, err
	}
	router := chi.NewRouter()
	router.Handle("/message-bus/*", messages)
	return router, messages, nil
}

// issue makes a token, as a login would.
func issue(key []byte, user string, lasts time.Duration) (string, error) {
	claims := jwt.RegisteredClaims{Subject: user, ExpiresAt: jwt.NewNumericDate(time.Now().Add(lasts))}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(key)
}

// identify reads the token of a request. A request that is held ends when the token
// does.
func identify(r *http.Request, key []byte) (transport.Identity, error) {
	var claims jwt.RegisteredClaims
	_, err := request.ParseFromRequest(r, request.AuthorizationHeaderExtractor,
		func(*jwt.Token) (any, error) { return key, nil },
		request.WithClaims(&claims), request.WithParser(jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())))
	if err != nil {
		return transport.Identity{}, errUnauthorized
	}
	return transport.Identity{UserID: bus.StringID(claims.Subject), Expires: claims.ExpiresAt.Time}, nil
}

// An unauthorized request is answered with its status and text, and not with what
// was wrong with the token.
type unauthorized struct{ error }

var errUnauthorized = unauthorized{errors.New("a valid token is needed")}

// StatusCode is how the handler answers.
func (unauthorized) StatusCode() int { return http.StatusUnauthorized }
