package integration_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
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
	leakcheck.Main(m, command.Remove, stores.Close)
}
