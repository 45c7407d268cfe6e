// Package leakcheck fails a test run that leaves goroutines behind.
package leakcheck

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main is the body of a TestMain: it runs the tests and then the functions that end
// what they shared, waits a while for the goroutines that were started to end, and
// exits with 1 when a function fails or a goroutine stays.
func Main(m *testing.M, ends ...func() error) {
	before := goroutines()
	code := m.Run()
	for _, end := range ends {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	left := wait(before)
	for _, stack := range left {
		fmt.Fprintf(os.Stderr, "leakcheck: a goroutine was left behind:\n%s\n\n", stack)
	}
	if code == 0 && len(left) > 0 {
		code = 1
	}
	os.Exit(code)
}

// Idle closes the connections that the default client of net/http keeps, as one of
// the functions of Main.
func Idle() error {
	http.DefaultClient.CloseIdleConnections()
	return nil
}

// wait returns the stacks of the goroutines that do not end.
func wait(before map[string]string) []string {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	const attempts = 300
	for range attempts {
		if len(leaked(before)) == 0 {
			return nil
		}
		<-retry.C
	}
	return leaked(before)
}

func leaked(before map[string]string) []string {
	var stacks []string
	for id, stack := range goroutines() {
		if _, ok := before[id]; !ok && !standard(stack) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// standard reports whether the standard library started the goroutine for good.
func standard(stack string) bool {
	for _, s := range []string{
		"os/signal.signal_recv", "os/signal.loop", "runtime.ensureSigM",
		"runtime/trace.Start", "runtime/pprof.profileWriter",
	} {
		if strings.Contains(stack, s) {
			return true
		}
	}
	return false
}

// goroutines returns the stacks of all goroutines but the caller's, by their ids.
func goroutines() map[string]string {
	b := make([]byte, 1<<16)
	for {
		n := runtime.Stack(b, true)
		if n < len(b) {
			b = b[:n]
			break
		}
		b = make([]byte, 2*len(b))
	}
	stacks := make(map[string]string)
	for _, stack := range strings.Split(string(b), "\n\n")[1:] { // the first is the caller's
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		stacks[id] = stack
	}
	return stacks
}
