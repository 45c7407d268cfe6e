package pgbus

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
	if code == 0 && leaked(before) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines were left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// leaked gives goroutines three seconds to end.
func leaked(before int) bool {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	const attempts = 300
	for range attempts {
		if runtime.NumGoroutine() <= before {
			return false
		}
		<-retry.C
	}
	return true
}
