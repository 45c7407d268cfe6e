package measure

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
)

// A host has servers started by package stores, which takes them for those of a
// test, in a program that is none.
type host struct {
	testing.TB // nil: what is not below is not called

	cleanups []func()
	err      error
}

// Hosted runs f in a goroutine that a Fatal of its host ends, and then ends what f
// has started.
func Hosted(f func(testing.TB) error) error {
	h := &host{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer h.clean()
		h.fail(f(h))
	}()
	<-done
	return h.err
}

func (h *host) clean() {
	for _, end := range slices.Backward(h.cleanups) {
		end()
	}
}

func (h *host) fail(err error) { h.err = errors.Join(h.err, err) }

// Helper does nothing.
func (h *host) Helper() {}

// Cleanup has f called when what is hosted has ended.
func (h *host) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }

// TempDir returns a new folder, which is removed when what is hosted has ended.
func (h *host) TempDir() string {
	folder, err := os.MkdirTemp("", "messagebus-measure-")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { h.fail(os.RemoveAll(folder)) })
	return folder
}

// Failed reports whether something was wrong.
func (h *host) Failed() bool { return h.err != nil }

// Logf is called by package stores when something is wrong.
func (h *host) Logf(format string, args ...any) { h.fail(fmt.Errorf(format, args...)) }

// Errorf notes what was wrong.
func (h *host) Errorf(format string, args ...any) { h.fail(fmt.Errorf(format, args...)) }

// Fatal ends what is hosted.
func (h *host) Fatal(args ...any) {
	h.fail(errors.New(fmt.Sprint(args...)))
	runtime.Goexit()
}

// Fatalf ends what is hosted.
func (h *host) Fatalf(format string, args ...any) {
	h.fail(fmt.Errorf(format, args...))
	runtime.Goexit()
}
