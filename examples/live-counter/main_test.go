package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/examples/internal/trial"
)

// start serves the counter of one process on a store.
func start(t *testing.T, store driver.Backend, tally tally) (address string) {
	t.Helper()
	c, err := newCounter(t.Context(), bustest.On(t, store, nil), tally)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.site())
	t.Cleanup(func() {
		trial.End(t.Context(), c.messages, server)
		c.number.Close()
	})
	return server.URL
}

func click(ctx context.Context, base string, header http.Header) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/click", http.NoBody)
	if err != nil {
		return 0, err
	}
	r.Header = header
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	answer.Body.Close()
	return answer.StatusCode, nil
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s is answered %s, %v", url, answer.Status, err)
	}
	return string(text)
}

// largest reads numbers until it has read want, which it returns, or one that is
// larger.
func largest(t *testing.T, c *trial.Client, want int) int {
	t.Helper()
	for {
		text, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("it is told %q, which is no number", text)
		}
		if n >= want {
			return n
		}
	}
}

func TestLiveCounter_EveryPageOfEveryProcessSeesAllClicks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // only where it fails
	defer cancel()
	store, tally := bustest.NewStore(t), &inMemory{}
	processes := []string{start(t, store, tally), start(t, store.Dial(), tally)}
	var pages []*trial.Client
	for _, base := range processes {
		// So that both caches hold a number that has to go.
		if text := get(t, base); !strings.Contains(text, ">0</output>") {
			t.Fatalf("before any click the page is\n%s", text)
		}
		page, err := trial.Subscribe(ctx, base, channel, nil)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
	}

	const clicks = 60
	var clickers sync.WaitGroup
	for i := range clicks {
		clickers.Go(func() {
			if status, err := click(ctx, processes[i%2], http.Header{}); status != http.StatusNoContent || err != nil {
				t.Errorf("a click is answered %d, %v", status, err)
			}
		})
	}
	clickers.Wait()

	for i, page := range pages {
		if n := largest(t, page, clicks); n != clicks {
			t.Errorf("process %d: a page shows %d clicks, want %d", i, n, clicks)
		}
	}
	// News of the other process's last click may still be on its way to this cache.
	want := fmt.Sprintf(">%d</output>", clicks)
	for i, base := range processes {
		for !strings.Contains(get(t, base), want) {
			if ctx.Err() != nil {
				t.Fatalf("process %d: a page that is opened does not come to show %d clicks", i, clicks)
			}
		}
	}
}

func TestLiveCounter_PagesOfOtherSitesDoNotClick(t *testing.T) {
	t.Parallel()
	tally := &inMemory{}
	base := start(t, bustest.NewStore(t), tally)
	status, err := click(t.Context(), base, http.Header{"Sec-Fetch-Site": {"cross-site"}})
	if n := tally.n.Load(); status != http.StatusForbidden || n != 0 || err != nil {
		t.Errorf("another site is answered %d, %v, and %d clicks are counted", status, err, n)
	}
}

func TestLiveCounter_ServesTheClientOfItsPage(t *testing.T) {
	t.Parallel()
	base := start(t, bustest.NewStore(t), &inMemory{})
	const script = "/assets/index.js"
	if !strings.Contains(get(t, base), script) || !strings.Contains(get(t, base+script), "createClient") {
		t.Errorf("the page does not load %s, or it is not the client", script)
	}
}
