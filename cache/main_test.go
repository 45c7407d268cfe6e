package cache_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails a run that leaves goroutines behind.
func TestMain(m *testing.M) {
	before := len(goroutines())
	code := m.Run()
	if left := wait(before); len(left) > before && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines were left behind:\n%s\n", strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// wait gives goroutines three seconds to end, and returns those that are left.
func wait(before int) []string {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	const attempts = 300
	for range attempts {
		if len(goroutines()) <= before {
			break
		}
		<-retry.C
	}
	return goroutines()
}

// goroutines returns the stacks of all, without the one that catches signals for
// good, as fuzzing does.
func goroutines() []string {
	b := make([]byte, 1<<20)
	var stacks []string
	for stack := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if !strings.Contains(stack, "os/signal.") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
