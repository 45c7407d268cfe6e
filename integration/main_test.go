package integration_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// testsAtOnce is how many tests run in parallel unless -parallel says otherwise: they
// wait for servers, timeouts and faults most of their time, whatever the processors.
const testsAtOnce = "10"

// TestMain fails a run that leaves goroutines behind.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", testsAtOnce); err != nil { // the command line, which is read later, wins
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	if err := command.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
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
		if count() <= before {
			return ""
		}
		<-retry.C
	}
	return stacks()
}

// count counts the goroutines, without the one that catches signals for good.
func count() int {
	n := 0
	for stack := range strings.SplitSeq(stacks(), "\n\n") {
		if !strings.Contains(stack, "os/signal.") {
			n++
		}
	}
	return n
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}
