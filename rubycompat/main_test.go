package rubycompat_test

import (
	"os"
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// TestMain reports what was replayed as well.
func TestMain(m *testing.M) { leakcheck.Main(m, reportAll, stores.Close) }

func reportAll() error {
	report(os.Stdout)
	reportNotRun(os.Stdout)
	return nil
}
