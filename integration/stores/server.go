package stores

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/port"
)

// patience is how long a server may take to start or to end, on a machine that has much
// else to do. One that has ended is not waited for.
const patience = 2 * time.Minute

// server has what every kind of server can do. It ends with its test.
type server struct {
	tb      testing.TB
	port    *port.Reservation
	program program
	runner  runner
	ready   func(context.Context) error

	mu     sync.Mutex // guards below, and makes starting and breaking take turns
	paused bool
}

// newServer reserves a port for a server, which release gives back.
func newServer(tb testing.TB) (*server, error) {
	tb.Helper()
	reserved, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	return &server{tb: tb, port: reserved}, nil
}

// launch starts the program. A server that cannot be started is ended for good.
func (s *server) launch(p program, ready func(context.Context) error) error {
	s.program, s.ready = p, ready
	var err error
	if s.runner, err = newRunner(p); err != nil {
		s.port.Release()
		return err
	}
	if err := s.start(); err != nil {
		return errors.Join(err, s.end())
	}
	return nil
}

// Start starts the server again after Stop or Kill, on the same port, and returns
// when it answers.
func (s *server) Start() {
	s.tb.Helper()
	s.must("start", s.start)
}

// Stop ends the server in good order.
func (s *server) Stop() {
	s.tb.Helper()
	s.must("stop", func() error { return s.finish(s.program.quit) })
}

// Kill ends the server at once, as a crash would.
func (s *server) Kill() {
	s.tb.Helper()
	s.must("kill", func() error { return s.finish(syscall.SIGKILL) })
}

// Pause halts the server: its connections stay open, and nothing is answered.
func (s *server) Pause() {
	s.tb.Helper()
	s.must("pause", func() error { return s.halt(true) })
}

// Continue ends a Pause.
func (s *server) Continue() {
	s.tb.Helper()
	s.must("continue", func() error { return s.halt(false) })
}

func (s *server) must(what string, do func() error) {
	s.tb.Helper()
	if err := do(); err != nil {
		s.tb.Errorf("stores: %s %s: %v", what, s.program.name, err)
	}
}

func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running() {
		return errors.New("it is running already")
	}
	if err := s.runner.start(); err != nil {
		return err
	}
	return s.await(s.runner.ended())
}

func (s *server) running() bool {
	ended := s.runner.ended()
	if ended == nil {
		return false
	}
	select {
	case <-ended:
		return false
	default:
		return true
	}
}

var errEnded = errors.New("it ended at once")

// await waits until the server answers.
func (s *server) await(ended <-chan struct{}) error {
	err := pollUntil(ended, s.ready)
	if err != nil {
		err = fmt.Errorf("%w; the end of its log:\n%s", err, tail(s.runner.log()))
	}
	return err
}

// finish ends the server by a signal and waits until it is gone.
func (s *server) finish(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused && signal != syscall.SIGKILL {
		if err := s.runner.signal(syscall.SIGCONT); err != nil {
			return err
		}
	}
	s.paused = false
	if err := s.runner.signal(signal); err != nil {
		return err
	}
	select {
	case <-s.runner.ended():
		return nil
	case <-time.After(patience):
		return fmt.Errorf("it still runs %v after %v", patience, signal)
	}
}

func (s *server) halt(pause bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused == pause {
		return fmt.Errorf("it is paused: %v", s.paused)
	}
	signal := syscall.SIGCONT
	if pause {
		signal = syscall.SIGSTOP
	}
	if err := s.runner.signal(signal); err != nil {
		return err
	}
	s.paused = pause
	return nil
}

// end ends the server for good, in whatever state it is.
func (s *server) end() error {
	defer s.port.Release()
	if s.running() {
		if err := s.finish(s.program.abort); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	return s.runner.remove()
}

// endWithTest ends the server when the test does.
func (s *server) endWithTest() {
	s.tb.Cleanup(func() {
		if s.tb.Failed() {
			s.tb.Logf("the end of the log of %s:\n%s", s.program.name, tail(s.runner.log()))
		}
		s.must("end", s.end)
	})
}

// tail returns the last lines of a log.
func tail(log string) string {
	const most = 40
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// quote makes a word of the shell.
func quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
