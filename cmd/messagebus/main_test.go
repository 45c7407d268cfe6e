package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
)

// asProgram makes the test binary the program itself, for the tests that need
// a process of its own.
const asProgram = "MESSAGEBUS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	redis.SetLogger(&logging.VoidLogger{}) // as main does
	leakcheck.Main(m)
}

// environ is an environment of a test's own.
type environ map[string]string

func (e environ) lookup(name string) (string, bool) {
	value, found := e[name]
	return value, found
}

// outcome is what a command line came to.
type outcome struct {
	code           int
	stdout, stderr string
}

// runWith runs a command line to its end.
func runWith(t *testing.T, env environ, stdin string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, env.lookup, strings.NewReader(stdin), &stdout, &stderr)
	if ctx.Err() != nil {
		t.Fatalf("%q did not end", args)
	}
	return outcome{code, stdout.String(), stderr.String()}
}

func runArgs(t *testing.T, args ...string) outcome {
	t.Helper()
	return runWith(t, nil, "", args...)
}

// running is a serve or demo that was started by a test.
type running struct {
	client, admin string // addresses
	stop          func() outcome
}

var logged = regexp.MustCompile(`msg="listening for (clients|operators)" address=(\S+)`)

// serve starts a server on ports of its own, and stops it with the test.
func serve(t *testing.T, env environ, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logReader, logWriter := io.Pipe()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, args, env.lookup, strings.NewReader(""), io.Discard, logWriter)
		logWriter.Close()
	}()
	s := &running{}
	log := bufio.NewScanner(logReader)
	var lines strings.Builder
	for s.client == "" && log.Scan() {
		fmt.Fprintln(&lines, log.Text())
		found := logged.FindStringSubmatch(log.Text())
		switch {
		case found == nil:
		case found[1] == "clients":
			s.client = found[2]
		default:
			s.admin = found[2]
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for log.Scan() {
			fmt.Fprintln(&lines, log.Text())
		}
	}()
	var ended *outcome
	s.stop = func() outcome {
		if ended == nil {
			cancel()
			ended = &outcome{code: <-code}
			<-drained
			ended.stderr = lines.String()
		}
		return *ended
	}
	t.Cleanup(func() {
		if end := s.stop(); end.code != exitDone {
			t.Errorf("serve ended with %d:\n%s", end.code, end.stderr)
		}
	})
	if s.client == "" {
		t.Fatalf("serve did not start: %+v", s.stop())
	}
	return s
}

// client returns an HTTP client that leaves nothing behind.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func send(t *testing.T, method, url, body string, header http.Header) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	if host := header.Get("Host"); host != "" {
		request.Host = host
	}
	response, err := client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(text)}
}
