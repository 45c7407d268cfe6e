// Package command runs programs as their users do: the messagebus command, and others
// beside it.
package command

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a program may take to start or to end.
const patience = 60 * time.Second

// Root returns the folder of the checkout.
func Root(tb testing.TB) string {
	tb.Helper()
	folder, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "modules.txt")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			tb.Fatal("command: the tests do not run inside the checkout")
		}
		folder = parent
	}
}

var binary struct {
	sync.Once

	folder string
	err    error
}

// Binary builds the command, once in a test run, and returns its path.
func Binary(tb testing.TB) string {
	tb.Helper()
	root := Root(tb)
	binary.Do(func() {
		if binary.folder, binary.err = os.MkdirTemp("", "messagebus-test-"); binary.err != nil { //nolint:usetesting // outlives the test that asks first
			return
		}
		build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(binary.folder, "messagebus"), ".")
		build.Dir = filepath.Join(root, "cmd", "messagebus")
		build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("go build: %w\n%s", err, output)
		}
	})
	if binary.err != nil {
		tb.Fatalf("command: %v", binary.err)
	}
	return filepath.Join(binary.folder, "messagebus")
}

// Remove removes what Binary has built, at the end of the test run.
func Remove() error { return os.RemoveAll(binary.folder) }

// A Process is one running program.
type Process struct {
	tb   testing.TB
	cmd  *exec.Cmd
	name string        // with its arguments
	done chan struct{} // closed when the process has ended

	mu     sync.Mutex
	out    bytes.Buffer // guarded by mu, as are all below: what it has printed
	grown  chan struct{}
	status error
}

// Start runs messagebus with arguments. It is stopped with the test, unless the
// test has done so.
func Start(tb testing.TB, args ...string) *Process {
	tb.Helper()
	cmd := exec.Command(Binary(tb), args...)
	// Settings of the machine are not what is tested.
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MESSAGEBUS_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	return Run(tb, cmd)
}

// Run runs a program that goes on until it is interrupted, and then ends with a
// success. It is stopped with the test, unless the test has done so.
func Run(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	name := strings.Join(append([]string{filepath.Base(cmd.Path)}, cmd.Args[1:]...), " ")
	p := &Process{tb: tb, cmd: cmd, name: name, done: make(chan struct{}), grown: make(chan struct{})}
	read, write, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = write, write
	err = p.cmd.Start()
	write.Close()
	if err != nil {
		read.Close()
		tb.Fatalf("command: %s: %v", name, err)
	}
	go p.follow(read)
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			tb.Logf("%s printed:\n%s", name, p.output())
		}
	})
	return p
}

// follow reads what the process prints until it has ended.
func (p *Process) follow(output io.ReadCloser) {
	defer close(p.done)
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		p.mu.Lock()
		p.out.WriteString(line)
		close(p.grown)
		p.grown = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			break
		}
	}
	output.Close()
	status := p.cmd.Wait()
	p.mu.Lock()
	p.status = status
	p.mu.Unlock()
}

func (p *Process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// WaitFor waits until find accepts what the process has printed so far, and
// returns what it made of it.
func (p *Process) WaitFor(what string, find func(output string) (string, bool)) string {
	p.tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		output, grown := p.out.String(), p.grown
		p.mu.Unlock()
		if found, ok := find(output); ok {
			return found
		}
		select {
		case <-grown:
		case <-p.done:
			if found, ok := find(p.output()); ok {
				return found
			}
			p.tb.Fatalf("command: %s ended without printing %s", p.name, what)
		case <-deadline.C:
			p.tb.Fatalf("command: %s did not print %s", p.name, what)
		}
	}
}

// Stop interrupts the process, as Ctrl-C does, and waits for its end, which must
// be a success. It does nothing to one that was stopped.
func (p *Process) Stop() {
	p.tb.Helper()
	select {
	case <-p.done:
	default:
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			p.tb.Errorf("command: %v", err)
		}
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.done:
	case <-deadline.C:
		p.tb.Errorf("command: %s does not end on an interrupt", p.name)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status != nil {
		p.tb.Errorf("command: %s ended with %v", p.name, p.status)
		p.status = nil
	}
}
