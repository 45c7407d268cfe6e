package transport_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/transporttest"
)

const longPart = 200_000

// atOnce sends a request that is answered at once with a long part.
func atOnce(t *testing.T, r *rig) *peer {
	t.Helper()
	r.publish("/a", strings.Repeat("x", longPart))
	conn, err := r.server.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return send(t, conn, request("/message-bus/me/poll?dlp=t", "/a=0"))
}

func TestPoll_PeerThatTakesNothingIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := atOnce(t, newRig(t, nil))
		<-time.After(time.Minute)
		if b, _ := io.ReadAll(p.in); len(b) >= longPart {
			t.Errorf("%d bytes after a minute", len(b))
		}
	})
}

func TestPoll_PeerThatTakesLongGetsAllAndMayAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		p := atOnce(t, r)
		step := make([]byte, 16<<10)
		for n := 0; n < longPart; n += len(step) {
			<-time.After(4 * time.Second)
			if _, err := io.ReadFull(p.in, step[:min(len(step), longPart-n)]); err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
		}
		go io.Copy(io.Discard, p.in)
		synctest.Wait()
		<-time.After(time.Minute)
		if _, err := io.WriteString(p.conn, request("/message-bus/me/poll?dlp=t", "/a=0")); err != nil {
			t.Error(err)
		}
	})
}

// wrapped is a rig whose handler cannot take connections over.
func wrapped(t *testing.T, opts *transport.Options) *rig {
	t.Helper()
	r := newRig(t, opts)
	r.server = transporttest.NewServer(t, hide(r.handler))
	return r
}

func TestStream_PeerOfAWrappedWriterThatTakesLongGetsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := wrapped(t, &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}})
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", strings.Repeat("x", longPart))
		step := make([]byte, 16<<10)
		for n := 0; n < longPart; n += len(step) {
			<-time.After(4 * time.Second)
			if _, err := io.ReadFull(p.in, step[:min(len(step), longPart-n)]); err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
		}
	})
}

// What comes after the last part is net/http's to write, and may be stuck as well.
func TestStream_PeerOfAWrappedWriterThatTakesNoEndIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wrapped(t, nil).poll("me", "/a=0").head()
		p.want(noMessages, noMessages)
		<-time.After(time.Minute)
		if n, err := p.conn.Read(make([]byte, 100)); err == nil {
			t.Errorf("%d bytes after a minute", n)
		}
	})
}

func TestShutdown_EndsAWriteOfAWrappedWriterThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := wrapped(t, slowOptions(1<<20))
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", strings.Repeat("x", longPart))
		synctest.Wait() // it is being written
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.handler.Shutdown(ctx); err == nil || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A request that might have been held and is answered at once holds no place, and
// up nobody.
func TestShutdown_DoesNotWaitForAnAnswerThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, slowOptions(1<<20))
		r.publish("/a", strings.Repeat("x", longPart))
		r.poll("me", "/a=0", "Dont-Chunk: 1") // and reads nothing
		synctest.Wait()
		start := time.Now()
		if err := r.handler.Shutdown(t.Context()); err != nil || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
