package rubycompat_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/stores"
)

// TestMain reports what was replayed, and fails a run that leaves goroutines behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	report(os.Stdout)
	reportNotRun(os.Stdout)
	if err := stores.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if left := leaked(before); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines were left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leaked gives goroutines three seconds to end, and returns the stacks of all if
// more than before are left.
func leaked(before int) string {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	const attempts = 300
	for range attempts {
		if count := strings.Count(stacks(), "\n\n") + 1; count <= before {
			return ""
		}
		<-retry.C
	}
	return stacks()
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}
