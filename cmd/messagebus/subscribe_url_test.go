package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
)

// A publicServer serves a bus as clients find it.
type publicServer struct {
	bus *bus.Bus
	url string
}

func startPublic(t *testing.T, identify func(*http.Request) (transport.Identity, error)) *publicServer {
	t.Helper()
	p := &publicServer{bus: bustest.New(t)}
	h, err := transport.NewHandler(p.bus, &transport.Options{Identify: identify})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	p.url = server.URL
	t.Cleanup(func() {
		_ = h.Shutdown(context.WithoutCancel(t.Context()))
		server.CloseClientConnections()
		server.Close()
	})
	return p
}

func (p *publicServer) publish(t *testing.T, channel string, data any) {
	t.Helper()
	if _, err := p.bus.Publish(t.Context(), channel, data); err != nil {
		t.Fatal(err)
	}
}

// A printing is a run of subscribe whose lines are read as they come.
type printing struct {
	lines  *bufio.Scanner
	stop   func()
	code   int
	stderr strings.Builder
	ended  sync.WaitGroup
}

func startPrinting(t *testing.T, args ...string) *printing {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	p := &printing{lines: bufio.NewScanner(out), stop: cancel}
	p.ended.Go(func() {
		p.code = run(ctx, append([]string{"subscribe"}, args...), func(string) (string, bool) { return "", false }, strings.NewReader(""), in, &p.stderr)
		in.Close()
	})
	t.Cleanup(func() {
		cancel()
		out.Close()
		p.ended.Wait()
	})
	return p
}

// want reads lines and looks for texts in them, one each.
func (p *printing) want(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !p.lines.Scan() {
			t.Fatalf("no line with %s; %s", text, p.stderr.String())
		}
		if !strings.Contains(p.lines.Text(), text) {
			t.Errorf("line %s, want %s in it", p.lines.Text(), text)
		}
	}
}

// end stops the run and returns what it printed besides.
func (p *printing) end(t *testing.T) string {
	t.Helper()
	p.stop()
	var rest []string
	for p.lines.Scan() {
		rest = append(rest, p.lines.Text())
	}
	p.ended.Wait()
	return strings.Join(rest, "\n")
}

func TestSubscribeURL_GoesOnWhereTheLastRunEnded(t *testing.T) {
	t.Parallel()
	for _, way := range [][]string{nil, {"--events"}} {
		s := startPublic(t, nil)
		file := filepath.Join(t.TempDir(), "positions.json")
		args := append([]string{"/a", "/b", "--url", s.url, "--from", "0", "--positions", file}, way...)
		s.publish(t, "/a", "one")
		first := startPrinting(t, args...)
		first.want(t, `{"channel":"/a","id":1,"global_id":1,"data":"one"}`)
		s.publish(t, "/b", "two")
		first.want(t, `"data":"two"`)
		if rest := first.end(t); rest != "" || first.code != exitDone {
			t.Errorf("exit code %d, further lines %s", first.code, rest)
		}
		s.publish(t, "/a", "three")
		second := startPrinting(t, args...)
		second.want(t, `"data":"three"`)
		if rest := second.end(t); rest != "" {
			t.Errorf("printed again: %s", rest)
		}
	}
}

func TestSubscribeURL_KeepsPositionsOfChannelsThatItIsNotAskedFor(t *testing.T) {
	t.Parallel()
	s := startPublic(t, nil)
	file := filepath.Join(t.TempDir(), "positions.json")
	if err := os.WriteFile(file, []byte(`{"/other":{"id":7,"global_id":9,"epoch":"e"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.publish(t, "/a", 1)
	p := startPrinting(t, "/a", "--url", s.url, "--from", "last:1", "--positions", file)
	p.want(t, `"data":1`)
	p.end(t)
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), `"global_id": 9`) || !strings.Contains(string(text), `"/a"`) {
		t.Errorf("%s %v", text, err)
	}
	left, err := filepath.Glob(file + "*")
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v %v", left, err)
	}
}

func TestSubscribeURL_AMessageThatWasNotPrintedComesAgain(t *testing.T) {
	t.Parallel()
	s := startPublic(t, nil)
	file := filepath.Join(t.TempDir(), "positions.json")
	s.publish(t, "/a", "lost?")
	code := run(t.Context(), []string{"subscribe", "/a", "--url", s.url, "--from", "0", "--positions", file},
		func(string) (string, bool) { return "", false }, strings.NewReader(""), brokenPipe{}, io.Discard)
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	p := startPrinting(t, "/a", "--url", s.url, "--from", "0", "--positions", file)
	p.want(t, "lost?")
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestSubscribeURL_SaysWhoItIsAndEndsWhenItIsNotAllowed(t *testing.T) {
	t.Parallel()
	s := startPublic(t, func(r *http.Request) (transport.Identity, error) {
		if r.Header.Get("Authorization") != "Bearer k" {
			return transport.Identity{}, notAllowedError{}
		}
		return transport.Identity{}, nil
	})
	s.publish(t, "/a", 1)
	allowed := startPrinting(t, "/a", "--url", s.url, "--from", "0", "--request-header", "Authorization: Bearer k")
	allowed.want(t, `"data":1`)
	refused := startPrinting(t, "/a", "--url", s.url)
	refused.ended.Wait()
	if text := refused.stderr.String(); refused.code != exitFailure || !strings.Contains(text, "403 Forbidden") || strings.Count(text, "\n") != 1 {
		t.Errorf("exit code %d, %s", refused.code, text)
	}
}

type notAllowedError struct{}

func (notAllowedError) Error() string   { return "no" }
func (notAllowedError) StatusCode() int { return http.StatusForbidden }

func TestSubscribeURL_RefusesWhatDoesNotGoTogether(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"/a":7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"--positions goes with --url": {"--positions", "f"},
		"--events goes with --url":    {"--events"},
		"exclude each other":          {"--url", "http://a.test", "--server", "http://b.test"},
		"--url and --site":            {"--url", "http://a.test", "--site", "x"},
		"the base URL must be":        {"--url", "a.test"},
		"holds no positions":          {"--url", "http://a.test", "--positions", bad},
		"the name of letters":         {"--url", "http://a.test", "--request-header", "no"},
		"begins with a slash":         {"a", "--url", "http://a.test"},
		"no such file or directory":   {"--url", "http://a.test", "--positions", filepath.Join(bad+".d", "f")},
	} {
		var stderr strings.Builder
		code := run(t.Context(), append([]string{"subscribe", "/a"}, args...), func(string) (string, bool) { return "", false }, strings.NewReader(""), io.Discard, &stderr)
		if code == exitDone || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: %d %s, want %q", args, code, stderr.String(), want)
		}
	}
}
