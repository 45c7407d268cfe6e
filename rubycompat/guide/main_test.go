package guide_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/rubycompat"
)

// TestMain names what was not run for want of the gem.
func TestMain(m *testing.M) {
	leakcheck.Main(m, func() error { return rubycompat.Report(reportNotRun) }, command.Remove, stores.Close)
}

var (
	gem = sync.OnceValues(func() (string, error) { return rubycompat.Gem(context.Background()) })

	mu     sync.Mutex // guards notRun
	notRun []string
)

// needGem ends a test where there is no gem, unless one is demanded.
func needGem(t *testing.T) {
	t.Helper()
	_, err := gem()
	if err == nil {
		return
	}
	if os.Getenv("MESSAGEBUS_REQUIRE_RUBY") != "" {
		t.Fatalf("%v; MESSAGE_BUS_LIB names the folder lib of the gem", err)
	}
	mu.Lock()
	notRun = append(notRun, t.Name())
	mu.Unlock()
	t.Skipf("not run: %v", err)
}

func reportNotRun(w io.Writer) error {
	mu.Lock()
	defer mu.Unlock()
	for _, name := range notRun {
		fmt.Fprintf(w, "not run: %s\n", name)
	}
	if _, err := gem(); err != nil && len(notRun) > 0 {
		fmt.Fprintf(w, "%d tests of the guide NOT RUN: %v\n"+
			"what they need: Ruby with the gems rack, redis and puma, and message_bus, "+
			"installed or in a folder whose lib MESSAGE_BUS_LIB names\n", len(notRun), err)
	}
	return nil
}
