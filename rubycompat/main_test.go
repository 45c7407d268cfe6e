package rubycompat_test

import (
	"os"
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// TestMain reports what was replayed, and the matrix, as well.
func TestMain(m *testing.M) {
	if order := os.Getenv(publisherVariable); order != "" {
		publisherMain(order)
		return
	}
	leakcheck.Main(m, reportAll, stores.Close)
}

func reportAll() error {
	report(os.Stdout)
	reportWithoutGem(os.Stdout)
	return reportMatrix(os.Stdout)
}
