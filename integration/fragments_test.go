package integration_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/transport"
)

// A fragment is a Go block of a page that is no program by itself: what has to stand before and
// after it in a function that says what is wrong.
type fragment struct {
	page          string
	at            int // among the Go blocks of the page
	before, after string
}

var fragments = map[string]fragment{
	"besideRuby": {page: "README.md", at: 1, after: `
		if err != nil {
			return err
		}
		m, ok, err := b.LastMessage(ctx, "/chat")
		return errors.Join(err, want(ok && m.ID == id && m.UserIDs[0] == bus.IntID(7), m))`},
	"redisbus": {page: "bus/redisbus/README.md", after: `
		return errors.Join(err, delivers(ctx, b))`},
	"pgbus": {page: "bus/pgbus/README.md", after: `
		return errors.Join(err, delivers(ctx, b))`},
	"transport": {page: "transport/README.md", before: `
		_, b := memory()
		session := func(*http.Request) (struct{ ID int64 }, error) { return struct{ ID int64 }{7}, nil }
		app := http.NotFoundHandler()`, after: `
		if _, err := b.Publish(ctx, "/chat", "hello", bus.ToUsers(bus.IntID(7))); err != nil {
			return err
		}
		body := request(server.Handler, "POST", "/message-bus/me/poll?dlp=t", "/chat=0")
		return want(strings.Contains(body, "hello"), body)`},
	"httpclient": {page: "httpclient/README.md", before: `
		fmt := make(printed, 1)`, after: `
		line := <-fmt
		return want(line == "1 \"hello\"\n", line)`},
	"httpclientLoop": {page: "httpclient/README.md", at: 1, before: `
		client, err := httpclient.New(os.Getenv("SERVER"), nil)
		if err != nil {
			return err
		}
		defer client.Close()
		work := func(m httpclient.Message) { os.Exit(map[bool]int{true: 0, false: 1}[string(m.Data) == "\"hello\""]) }`, after: `
		return errors.New("the loop has ended")`},
	"jsclient": {page: "jsclient/README.md", before: `
		mux := http.NewServeMux()`, after: `
		script := request(mux, "GET", "/assets/index.js", "")
		return want(strings.Contains(script, "createClient"), script)`},
	"prometheus": {page: "observe/prometheus/README.md", before: `
		store, _ := memory()`, after: `
		if err := errors.Join(err, delivers(ctx, b)); err != nil {
			return err
		}
		families, err := registry.Gather()
		return errors.Join(err, want(strings.Contains(fmt.Sprint(families), "messagebus_publishes_total"), families))`},
	"otel": {page: "observe/otel/README.md", before: `
		store, _ := memory()
		traces, metrics := noopTraces.NewTracerProvider(), noopMetrics.NewMeterProvider()`, after: `
		return errors.Join(err, delivers(ctx, b))`},
}

// around is the program of all fragments. It runs the one that its argument names.
const around = `package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	client "github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	noopMetrics "go.opentelemetry.io/otel/metric/noop"
	noopTraces "go.opentelemetry.io/otel/trace/noop"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/cache"
	"github.com/messagebus-go/messagebus/httpclient"
	"github.com/messagebus-go/messagebus/jsclient"
	"github.com/messagebus-go/messagebus/observe/otel"
	"github.com/messagebus-go/messagebus/observe/prometheus"
	"github.com/messagebus-go/messagebus/transport"
)

type User struct{ Age int }

// printed is what a fragment prints, where its package fmt is one of these.
type printed chan string

func (p printed) Println(what ...any) { p <- fmt.Sprintln(what...) }

func main() {
	if err := named[os.Args[1]](context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func memory() (driver.Backend, *bus.Bus) {
	store, err := membus.New(nil)
	if err != nil {
		panic(err)
	}
	b, err := bus.New(store, nil)
	if err != nil {
		panic(err)
	}
	return store, b
}

// delivers says what is wrong with a bus.
func delivers(ctx context.Context, b *bus.Bus) error {
	sub, err := b.Subscribe(ctx, "/fragment", bus.Latest())
	if err != nil {
		return err
	}
	if _, err := b.Publish(ctx, "/fragment", "hello"); err != nil {
		return err
	}
	m, err := sub.Next(ctx)
	for gap := (*bus.GapError)(nil); errors.As(err, &gap); { // where nothing was lost
		m, err = sub.Next(ctx)
	}
	return errors.Join(err, want(string(m.Data) == "\"hello\"", m))
}

func request(handler http.Handler, method, target, body string) string {
	answer, r := httptest.NewRecorder(), httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	handler.ServeHTTP(answer, r)
	return answer.Body.String()
}

func want(right bool, got any) error {
	if right {
		return nil
	}
	return fmt.Errorf("got %v", got)
}
`

// TestREADMEs_FragmentsOfGoDoWhatTheySay runs the blocks of Go with which the pages of the modules
// begin.
func TestREADMEs_FragmentsOfGoDoWhatTheySay(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for _, channel := range []string{"/chat", "/jobs"} {
		if _, err := b.Publish(t.Context(), channel, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	messages, err := transport.NewHandler(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(messages)
	endWithTest(t, server, messages)

	redis := stores.Redis(t).Addr()
	program := buildFragments(t, strings.NewReplacer(
		`"127.0.0.1:6379"`, `"`+redis+`"`,
		`"localhost:6379"`, `"`+redis+`"`,
		`"postgres://app@localhost/app"`, `"`+stores.PostgresShared(t)+`"`,
		`"https://example.com/"`, `"`+server.URL+`/"`,
	))
	for name := range fragments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), program, name)
			run.Env = append(os.Environ(), "SERVER="+server.URL+"/")
			if output, err := run.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", fragments[name].page, err, output)
			}
		})
	}
}

// buildFragments builds the program in the folder of a package that is not on the disk, so that its
// requirements are those of this checkout.
func buildFragments(t *testing.T, replace *strings.Replacer) (path string) {
	t.Helper()
	root, folder := command.Root(t), t.TempDir()
	var text, named strings.Builder
	text.WriteString(around)
	for name, f := range fragments {
		page, err := os.ReadFile(filepath.Join(root, f.page))
		if err != nil {
			t.Fatal(err)
		}
		blocks := goBlock.FindAllSubmatch(page, -1)
		if len(blocks) <= f.at {
			t.Fatalf("%s has %d blocks of Go; block %d is meant", f.page, len(blocks), f.at)
		}
		text.WriteString("\nfunc fragment_" + name + "(ctx context.Context) error {" + f.before + "\n" + replace.Replace(string(blocks[f.at][1])) + f.after + "\n}\n")
		named.WriteString("\t\"" + name + "\": fragment_" + name + ",\n")
	}
	text.WriteString("\nvar named = map[string]func(context.Context) error{\n" + named.String() + "}\n")

	source, overlay := filepath.Join(folder, "main.go"), filepath.Join(folder, "overlay.json")
	listed, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "integration", "fragments", "main.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{source: []byte(text.String()), overlay: listed} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(folder, "fragments")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", path, "./integration/fragments")
	build.Dir, build.Env = root, append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"))
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return path
}
