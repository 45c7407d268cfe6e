package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
)

// A Window is one page in a browser context of its own: it shares no storage
// with other windows, but for those that are opened beside it. Its methods fail
// the test, and are for its goroutine only.
type Window struct {
	tb     testing.TB
	ctx    context.Context
	end    context.CancelFunc
	closed bool
	name   string

	mu       sync.Mutex
	problems []string // guarded by mu: what the page threw, or tried although it must not
}

// Options are what a window pretends to be. Zero fields mean defaults.
type Options struct {
	Dark      bool
	Phone     bool // 390 by 844, with touch; else 1280 by 800
	Untrusted bool // takes certificates of anybody

	// Beside, if set, is a window with which this one shares all storage, as two
	// tabs of one user do.
	Beside *Window
}

// Open opens a window. The name is for messages and file names.
func (b *Browser) Open(tb testing.TB, name string, opts Options) *Window {
	tb.Helper()
	w := &Window{tb: tb, name: name}
	parent, storage := b.ctx, chromedp.WithNewBrowserContext()
	if opts.Beside != nil {
		storage = chromedp.WithExistingBrowserContext(chromedp.FromContext(opts.Beside.ctx).BrowserContextID)
	}
	w.ctx, w.end = chromedp.NewContext(parent, storage, chromedp.WithListener(w.note))
	ctx := w.ctx
	tb.Cleanup(func() {
		if tb.Failed() && !w.closed {
			w.explain()
		}
		w.end()
	})
	// The context that opens a window is the window's life: it has no deadline.
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("window %s: it does not open: %v", name, err)
	}
	viewport := chromedp.EmulateViewport(1280, 800)
	if opts.Phone {
		viewport = chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	w.Do(viewport, focus(true), w.prefer(opts.Dark))
	if opts.Untrusted {
		w.Do(trustEverybody())
	}
	return w
}

// prefer makes the window's user one who prefers dark or light.
func (w *Window) prefer(dark bool) chromedp.Action[chromedp.Void] {
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// focus has the window be the one that is being used, whatever is in front.
func focus(enabled bool) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: enabled})
		return err
	})
}

func trustEverybody() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
		return err
	})
}

// note keeps what the page throws and what its policy forbids it.
func (w *Window) note(event any) {
	var problem string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error()
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			problem = e.Entry.Text
		}
	}
	if problem != "" {
		w.mu.Lock()
		w.problems = append(w.problems, problem)
		w.mu.Unlock()
	}
}

// Close closes the window while the test goes on.
func (w *Window) Close() {
	w.closed = true
	w.end()
}

// Problems returns the exceptions that nobody caught, and the violations of the
// page's policy.
func (w *Window) Problems() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.problems...)
}

// Do performs actions.
func (w *Window) Do(actions ...chromedp.Action[chromedp.Void]) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		w.tb.Fatalf("window %s: %v", w.name, err)
	}
}

// Visit loads a page.
func (w *Window) Visit(url string) {
	w.tb.Helper()
	w.Do(chromedp.Navigate(url))
}

// Eval evaluates a JavaScript expression and waits for it if it is a promise.
func Eval[T any](w *Window, expression string) T {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		w.tb.Fatalf("window %s: %s: %v", w.name, expression, err)
	}
	return value
}

// WaitFor waits until a JavaScript expression is true.
func (w *Window) WaitFor(expression string) {
	w.tb.Helper()
	if err := w.tryFor(patience, expression); err != nil {
		w.tb.Fatalf("window %s: waited for %s: %v", w.name, expression, err)
	}
}

func (w *Window) tryFor(timeout time.Duration, expression string) error {
	ctx, cancel := context.WithTimeout(w.ctx, timeout)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				return errors.New("it did not happen")
			}
			return err
		}
		if ok {
			return nil
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return errors.New("it did not happen")
		}
	}
}

// Back goes back in the window's history. It does not wait for the page: one that
// was kept in memory is not loaded.
func (w *Window) Back() {
	w.tb.Helper()
	w.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		history, err := cdp.Call(ctx, t, page.GetNavigationHistory, cdp.Empty{})
		if err != nil {
			return err
		}
		before := page.NavigateToHistoryEntryParams{EntryID: history.Entries[history.CurrentIndex-1].ID}
		_, err = cdp.Call(ctx, t, page.NavigateToHistoryEntry, before)
		return err
	}))
}

// Freeze stops the page's timers and scripts, as a browser does with pages that have
// been in the background for long, until Thaw.
func (w *Window) Freeze() {
	w.tb.Helper()
	w.Do(lifecycle("frozen"))
}

// Thaw ends what Freeze has begun.
func (w *Window) Thaw() {
	w.tb.Helper()
	w.Do(lifecycle("active"))
}

func lifecycle(state page.SetWebLifecycleStateState) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
		return err
	})
}

// Connected tells the page whether its device has a network. It takes none away.
func (w *Window) Connected(connected bool) {
	w.tb.Helper()
	w.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		state := network.OverrideNetworkStateParams{Offline: !connected, DownloadThroughput: -1, UploadThroughput: -1}
		_, err := cdp.Call(ctx, t, network.OverrideNetworkState, state)
		return err
	}))
}

// Hide hides the page, as one does who looks at something else, until Show.
func (w *Window) Hide() {
	w.tb.Helper()
	w.Do(focus(false), bounds(cdpbrowser.WindowStateMinimized))
}

// Show ends what Hide has begun.
func (w *Window) Show() {
	w.tb.Helper()
	w.Do(bounds(cdpbrowser.WindowStateNormal), focus(true))
}

func bounds(state cdpbrowser.WindowState) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		window, err := cdp.Call(ctx, t, cdpbrowser.GetWindowForTarget, cdpbrowser.GetWindowForTargetParams{})
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, t, cdpbrowser.SetWindowBounds, cdpbrowser.SetWindowBoundsParams{
			WindowID: window.WindowID, Bounds: &cdpbrowser.Bounds{WindowState: state},
		})
		return err
	})
}

// WaitForText waits until the visible text of what the selector names contains
// the given one.
func (w *Window) WaitForText(selector, text string) {
	w.tb.Helper()
	w.WaitFor(fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.innerText.includes(%q))", selector, text))
}

// Type puts the focus on an element and presses the keys of text.
func (w *Window) Type(selector, text string) {
	w.tb.Helper()
	w.Do(chromedp.Focus(chromedp.CSS(selector)), chromedp.KeyEvent(text))
}

// Enter presses the Enter key, as a keyboard does: a page that prevents it gets
// no line break.
func (w *Window) Enter() {
	w.tb.Helper()
	w.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
			key := input.DispatchKeyEventParams{Type: kind, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, Text: "\r"}
			if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, key); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Click clicks an element.
func (w *Window) Click(selector string) {
	w.tb.Helper()
	w.Do(chromedp.Click(chromedp.CSS(selector)))
}

// Hold presses the mouse on an element, and lets go of it when meanwhile has returned.
func (w *Window) Hold(selector string, meanwhile func()) {
	w.tb.Helper()
	at := Eval[[2]float64](w, fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.scrollIntoView({ behavior: 'instant', block: 'center' });
		const { x, y, width, height } = e.getBoundingClientRect();
		return [x + width / 2, y + height / 2];
	})()`, selector))
	button := func(does input.DispatchMouseEventType) {
		w.Do(chromedp.MouseEvent(does, at[0], at[1], func(p *input.DispatchMouseEventParams) {
			p.Button, p.ClickCount = input.MouseButtonLeft, 1
		}))
	}
	button(chromedp.MousePressed)
	meanwhile()
	button(chromedp.MouseReleased)
}

// Screenshot keeps a picture of what the window shows, among the artifacts.
func (w *Window) Screenshot(name string) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		w.tb.Fatalf("window %s: screenshot: %v", w.name, err)
	}
	w.keep(name+".png", picture)
}

// explain keeps what the window shows when its test has failed.
func (w *Window) explain() {
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	w.tb.Logf("window %s shows (error: %v):\n%s\nproblems: %q", w.name, err, text, w.Problems())
	if picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
		w.keep("failed-"+strings.ReplaceAll(w.tb.Name(), "/", "-")+"-"+w.name+".png", picture)
	}
}

func (w *Window) keep(name string, content []byte) {
	path := filepath.Join(Artifacts(w.tb), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		w.tb.Errorf("window %s: %v", w.name, err)
		return
	}
	w.tb.Logf("kept %s", path)
}
