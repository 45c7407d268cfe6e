package drivertest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// A recorder is a testing.TB whose failure is a result and not a failure of
// the test that it belongs to.
type recorder struct {
	testing.TB // for what is not recorded

	mu       sync.Mutex // protects everything below
	failed   bool
	log      []string
	cleanups []func()
}

// record runs one claim on a store; the result is empty when it held.
func record(t *testing.T, h Harness, claim func(*env)) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.cleanup()
		check(r, h, claim)
	}()
	<-done
	if !r.failed {
		return ""
	}
	return "failed: " + strings.Join(r.log, "\n")
}

func (r *recorder) cleanup() {
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		f := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		f()
	}
}

func (r *recorder) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
	r.log = append(r.log, text)
}

func (r *recorder) Helper()                      {}
func (r *recorder) Cleanup(f func())             { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Error(args ...any)            { r.fail(fmt.Sprintln(args...)) }
func (r *recorder) Errorf(text string, a ...any) { r.fail(fmt.Sprintf(text, a...)) }
func (r *recorder) Fail()                        { r.fail("Fail") }
func (r *recorder) Fatal(args ...any)            { r.fail(fmt.Sprintln(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(text string, a ...any) { r.fail(fmt.Sprintf(text, a...)); runtime.Goexit() }
func (r *recorder) FailNow()                     { r.fail("FailNow"); runtime.Goexit() }
func (r *recorder) Skip(args ...any)             { r.fail("skipped: " + fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) Failed() bool                 { return r.failed }
