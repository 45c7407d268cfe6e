package demo_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain fails a run that leaves goroutines behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	retry := time.NewTicker(10 * time.Millisecond)
	const attempts = 300
	for range attempts {
		if runtime.NumGoroutine() <= before {
			os.Exit(code)
		}
		<-retry.C
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(os.Stderr, "goroutines were left behind:\n%s\n", stacks)
	os.Exit(1)
}
