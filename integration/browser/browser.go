// Package browser gives tests windows of a real, headless Chromium.
package browser

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience is how long anything in a browser may take. It is generous: a test
// that fails by it has been wrong for a long time.
const patience = 3 * time.Minute

// A Browser is one Chromium with a profile of its own. It ends with its test.
type Browser struct {
	ctx context.Context
}

// Start starts a Chromium: the one that CHROMIUM names, else one that is
// installed. It fails the test when there is none.
func Start(tb testing.TB) *Browser {
	tb.Helper()
	path, err := find()
	if err != nil {
		tb.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(tb.TempDir()),
		chromedp.NoSandbox, // there is none for root, as whom containers run
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", false),
		chromedp.WSURLReadTimeout(patience),
	)
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator, chromedp.WithErrorf(tb.Logf))
	tb.Cleanup(func() {
		// Waits until the process is gone, so that the profile can be removed.
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			tb.Logf("browser: it did not end well: %v", err)
		}
		end()
		endAllocator()
	})
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("browser: %s does not start: %v", path, err)
	}
	return &Browser{ctx: ctx}
}

// find returns the path of a browser.
func find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return exec.LookPath(path)
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New(`browser: there is no Chromium on this machine; run "scripts/setup.sh test", or set CHROMIUM to the path of one`)
}

// Artifacts returns the folder for what a test leaves to be looked at: the one
// that MESSAGEBUS_ARTIFACTS names, else output in the folder of the tests.
func Artifacts(tb testing.TB) string {
	tb.Helper()
	folder := os.Getenv("MESSAGEBUS_ARTIFACTS")
	if folder == "" {
		folder = "output"
	}
	folder, err := filepath.Abs(folder)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		tb.Fatalf("browser: no folder for artifacts: %v", err)
	}
	return folder
}
