package rubycompat_test

import (
	"io"
	"os"
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/rubycompat"
)

// TestMain reports what was replayed, and the matrix, as well.
func TestMain(m *testing.M) {
	if order := os.Getenv(publisherVariable); order != "" {
		publisherMain(order)
		return
	}
	leakcheck.Main(m, func() error { return rubycompat.Report(reportAll) }, stores.Close)
}

func reportAll(w io.Writer) error {
	report(w)
	reportWithoutGem(w)
	return reportMatrix(w)
}
