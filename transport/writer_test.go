package transport_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/transporttest"
)

// under is a rig whose handler stands under middleware that wraps its writers.
func under(t *testing.T, opts *transport.Options, wrap func(http.ResponseWriter) http.ResponseWriter) *rig {
	t.Helper()
	r := newRig(t, opts)
	r.server = transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.handler.ServeHTTP(wrap(w), request)
	}))
	return r
}

// bare is a writer that writes, and nothing else.
type bare struct{ http.ResponseWriter }

// Parts that nobody can push out would come at the end of the hold, all at once.
func TestStream_ThroughAWriterThatCannotFlushTheFirstMessageIsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := under(t, nil, func(w http.ResponseWriter) http.ResponseWriter { return bare{w} })
		start := time.Now()
		p := r.poll("me", "/a=0")
		r.held(1)
		r.publish("/a", 1)
		if got := p.head().body(); got != "["+message(1, "/a", "1")+"]" || p.header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%s %v", got, p.lines)
		}
		l := r.listen("me", "/a=0", "")
		if body, err := io.ReadAll(l.body); err != nil || !strings.Contains(string(body), message(1, "/a", "1")) || !strings.Contains(string(body), "\nretry: ") {
			t.Errorf("%q, %v", body, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A wrapper that says what is below it hides nothing.
type unwrapped struct{ bare }

func (u unwrapped) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func TestStream_FlushesWhatAWrapperLeadsTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := under(t, nil, func(w http.ResponseWriter) http.ResponseWriter { return unwrapped{bare{w}} })
		r.poll("me", "/a=0").head().want(noMessages)
		r.held(1)
	})
}

// timeless is a writer that flushes, and knows no deadlines.
type timeless struct{ bare }

func (w timeless) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func TestShutdown_DoesNotWaitForAWriterWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := under(t, slowOptions(1<<20), func(w http.ResponseWriter) http.ResponseWriter { return timeless{bare{w}} })
		r.poll("me", "/a=0").head().want(noMessages)
		r.publish("/a", strings.Repeat("x", longPart))
		r.poll("you", "/a=0", "Dont-Chunk: 1") // whose answer is stuck as well
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.handler.Shutdown(ctx); err == nil || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.held(0)
	})
}
