package httpclient_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run when a goroutine of this package is left behind.
func TestMain(m *testing.M) {
	code := m.Run()
	left := leftBehind()
	for _, stack := range left {
		fmt.Fprintf(os.Stderr, "a goroutine was left behind:\n%s\n\n", stack)
	}
	if code == 0 && len(left) > 0 {
		code = 1
	}
	os.Exit(code)
}

// leftBehind waits a while for the goroutines that the tests started to end.
func leftBehind() []string {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	var left []string
	for range 300 {
		if left = started(); len(left) == 0 {
			return nil
		}
		<-retry.C
	}
	return left
}

// started returns the stacks of goroutines that this module or net/http started.
func started() []string {
	b := make([]byte, 4<<20)
	b = b[:runtime.Stack(b, true)]
	var stacks []string
	for _, stack := range strings.Split(string(b), "\n\n")[1:] { // the first is ours
		if strings.Contains(stack, "messagebus/") || strings.Contains(stack, "net/http") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
