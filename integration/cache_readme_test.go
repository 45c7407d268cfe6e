package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// sharing is a program around the block of the README: it does what its input says
// until that ends.
const sharing = `package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/cache"
)

type User struct{ Age int }

func main() {
	if err := share(context.Background()); err != nil {
		panic(err)
	}
}

func share(ctx context.Context) error {
%s
	if err != nil {
		return err
	}
	fmt.Println(ann, ok)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var key string
		var age int
		if n, _ := fmt.Sscan(lines.Text(), &key, &age); n == 2 {
			if err := users.Set(ctx, key, User{age}); err != nil {
				return err
			}
		}
		user, ok := users.Get(key)
		fmt.Println(user, ok)
	}
	users.Close()
	return b.Close()
}
`

// TestCacheREADME_SharesACacheBetweenTwoProcesses runs the first program of the
// README twice.
func TestCacheREADME_SharesACacheBetweenTwoProcesses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(command.Root(t), "cache", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := goBlock.FindSubmatch(text)
	if block == nil {
		t.Fatal("the README has no Go block")
	}
	lines := string(block[1])
	if n := strings.Count(lines, "\n"); n > 15 {
		t.Errorf("it takes %d lines; 15 are promised", n)
	}
	const address = "localhost:6379"
	if strings.Count(lines, address) != 1 {
		t.Fatalf("the block does not name the server %s", address)
	}
	program := buildProgram(t, fmt.Sprintf(sharing, strings.Replace(lines, address, stores.Redis(t).Addr(), 1)))
	first, second := startSharing(t, program), startSharing(t, program)
	first.want("{44} true")
	second.want("{44} true")

	first.ask("bob 7")
	first.want("{7} true")
	second.wantSoon("bob", "{7} true")
	second.ask("bob 8")
	second.want("{8} true")
	first.wantSoon("bob", "{8} true")
}

// buildProgram builds a program on the modules of this checkout.
func buildProgram(t *testing.T, program string) (path string) {
	t.Helper()
	folder, root := t.TempDir(), command.Root(t)
	mod := "module example.com/readme\n\ngo 1.26.0\n"
	for _, module := range modules(t, root) {
		mod += "\nreplace github.com/messagebus-go/messagebus/" + module + " => " + filepath.Join(root, module) + "\n"
	}
	for name, content := range map[string]string{"go.mod": mod, "main.go": program} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(folder, "readme")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	build.Dir, build.Env = folder, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return path
}

// A sharer is one process with the cache.
type sharer struct {
	t      *testing.T
	input  io.Writer
	output *bufio.Scanner
}

func startSharing(t *testing.T, program string) *sharer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close() // at which it ends
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return &sharer{t, input, bufio.NewScanner(output)}
}

func (s *sharer) ask(line string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.input, line); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sharer) read() string {
	s.t.Helper()
	if !s.output.Scan() {
		s.t.Fatalf("the program has ended: %v", s.output.Err())
	}
	return s.output.Text()
}

func (s *sharer) want(line string) {
	s.t.Helper()
	if got := s.read(); got != line {
		s.t.Errorf("it prints %q, want %q", got, line)
	}
}

// wantSoon asks for a key until the answer is right.
func (s *sharer) wantSoon(key, line string) {
	s.t.Helper()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	var got string
	for deadline := time.Now().Add(cachePatience); time.Now().Before(deadline); {
		s.ask(key)
		if got = s.read(); got == line {
			return
		}
		<-retry.C
	}
	s.t.Errorf("%s is %q, want %q", key, got, line)
}
