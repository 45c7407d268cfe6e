package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often the files of a certificate are looked at, at most.
const lookEvery = time.Second

// certificate is a certificate in files, which are read again when they change.
// One that cannot be read leaves the one before in use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex // guards below
	pair   *tls.Certificate
	seen   stamp // of the files that were read last, well or not
	looked time.Time
}

// stamp is by what changed files are told.
type stamp struct {
	cert, key         time.Time
	certSize, keySize int64
}

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	var err error
	if c.seen, err = c.stamp(); err != nil {
		return nil, err
	}
	if c.pair, err = c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get is for tls.Config.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		c.look()
	}
	return c.pair, nil
}

// reload looks at the files now.
func (c *certificate) reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
}

// look reads the files if they have changed. c.mu must be held.
func (c *certificate) look() {
	now, err := c.stamp()
	if err == nil && now == c.seen {
		return
	}
	changed := now != c.seen
	c.seen = now
	var pair *tls.Certificate
	if err == nil {
		pair, err = c.read()
	}
	switch {
	case err == nil:
		c.pair = pair
		c.log.Info("the certificate is reloaded", "file", c.certFile, "until", pair.Leaf.NotAfter)
	case changed: // said once for one state of the files
		c.log.Error("the certificate cannot be reloaded; the one before stays in use", "error", err)
	}
}

func (c *certificate) stamp() (stamp, error) {
	cert, err := os.Stat(c.certFile)
	if err != nil {
		return stamp{}, err
	}
	key, err := os.Stat(c.keyFile)
	if err != nil {
		return stamp{}, err
	}
	return stamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

func (c *certificate) read() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", c.certFile, c.keyFile, err)
	}
	return &pair, nil
}
