package transport_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

func TestHold_StreamsEachMessageInAPartAndEndsAfter25Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.publish("/a", 1)
		start := time.Now()
		p := r.poll("me", "/a=0").head()
		wantHead := []string{
			"cache-control: must-revalidate, private, max-age=0", "pragma: no-cache", "expires: 0", "connection: close",
			"content-type: text/plain; charset=utf-8", "transfer-encoding: chunked", "x-content-type-options: nosniff", "x-accel-buffering: no",
		}
		if got := strings.Join(p.lines, "\n"); got != strings.Join(wantHead, "\n") {
			t.Errorf("head:\n%s", got)
		}
		p.want("[" + message(1, "/a", "1") + "]")
		r.publish("/a", "<two>")
		r.publish("/b", 3)
		r.publish("/a", 4)
		p.want("["+message(2, "/a", `"<two>"`)+"]", "["+message(4, "/a", "4")+"]")
		p.want(noMessages, "")
		p.wantEnd()
		if held := time.Since(start); held != 25*time.Second {
			t.Errorf("held for %v", held)
		}
	})
}

func TestHold_FirstMessageEndsARequestWithoutChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		p := r.poll("me", "/a=0&/b=0", "Dont-Chunk: true")
		r.held(1)
		r.publish("/b", "x")
		r.publish("/b", "y")
		if got := p.head().body(); got != "["+message(1, "/b", `"x"`)+"]" {
			t.Errorf("body %s", got)
		}
		p.wantEnd()
		r.held(0)

		start := time.Now()
		p = r.poll("me", "/b=2", "Dont-Chunk: true").head()
		if got, held := p.body(), time.Since(start); got != noMessages || held != 25*time.Second {
			t.Errorf("body %s after %v", got, held)
		}
	})
}

func TestHold_EndTellsOfWhatWasWithheldAfterTheLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		p := r.poll("me", "/a=-1&/b=-1&/c=-1").head()
		p.want("[" + status(`{"/a":0,"/b":0,"/c":0}`) + "]")
		r.publish("/a", 1, bus.ToUsers(bus.IntID(9))) // a message follows
		r.publish("/b", 2, bus.ToUsers(bus.IntID(9)))
		r.publish("/a", 3)
		r.publish("/b", 4, bus.ToClients("you"))
		p.want("["+message(3, "/a", "3")+"]", "["+status(`{"/b":4}`)+"]", "")
	})
}

func TestHold_BurstIsOneWriteOfManyChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		for i := range 100 {
			r.publish("/a", i)
		}
		synctest.Wait() // the first one is being written, the others wait
		b := make([]byte, 1<<20)
		writes, got := 0, ""
		for !strings.Contains(got, `"data":99}`) {
			n, err := p.conn.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got += string(b[:n])
			writes++
		}
		if n := strings.Count(got, "\r\n|\r\n\r\n"); n != 100 || writes > 4 {
			t.Errorf("%d chunks in %d writes: %.200s", n, writes, got)
		}
	})
}

func TestHold_SlowReaderGetsTheRestFromTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := 0
		r := newRig(t, &transport.Options{
			Limits: transport.LimitOptions{MaxQueuedBytes: 2000, WriteTimeout: time.Minute},
			Trace:  &transport.Trace{Slow: func(transport.Identity, string) { slow++ }},
		})
		p := r.poll("me", "/a=0&/b=0").head()
		p.want(noMessages)
		fast := r.poll("other", "/a=0&/b=0").head()
		fast.want(noMessages)
		const n = 300
		want := make(map[string]int)
		for i := 1; i <= n; i++ {
			channel := []string{"/a", "/b"}[i%2]
			r.publish(channel, i)
			fast.want("[" + message(i, channel, fmt.Sprint(i)) + "]")
		}
		for seen := 0; seen < n; {
			for _, m := range decode(t, p.part()) {
				if m.ID <= want[m.Channel] {
					t.Fatalf("message %d of %s after %d", m.ID, m.Channel, want[m.Channel])
				}
				want[m.Channel] = m.ID
				seen++
			}
		}
		if slow == 0 {
			t.Error("Trace.Slow was not called")
		}
	})
}

func TestHold_PeerThatTakesNothingIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var why transport.Reason
		r := newRig(t, &transport.Options{Trace: &transport.Trace{
			Disconnect: func(_ transport.Identity, _ string, reason transport.Reason) { why = reason },
		}})
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		start := time.Now()
		r.publish("/a", 1)
		r.held(0)
		synctest.Wait()
		if took := time.Since(start).Round(time.Second); took != 10*time.Second || why != transport.TooSlow {
			t.Errorf("cut off after %v: %s", took, why)
		}
	})
}

func TestHold_PeerThatLeavesFreesItsPlaceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Limits: transport.LimitOptions{MaxHeld: 1}})
		p := r.poll("one", "/a=0").head()
		p.want(noMessages)
		if got := r.poll("two", "/a=0").head().body(); got != noMessages {
			t.Errorf("a second request: %s", got)
		}
		p.conn.Close()
		synctest.Wait()
		if n := r.handler.Held(); n != 0 {
			t.Fatalf("%d held", n)
		}
		r.poll("two", "/a=0").head().want(noMessages)
	})
}

func TestHold_OneRequestForEachUserSiteAndClientID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Identify: byHeaders})
		first := r.poll("me", "/a=0&__seq=4").head()
		first.want(noMessages)
		for _, other := range []string{"X-User: 1", "X-User: \"1\"", "X-Site: s"} {
			r.poll("me", "/a=0&__seq=9", other).head().want(noMessages)
		}
		outdated := r.poll("me", "/a=0&__seq=3").head()
		outdated.want(noMessages, "")
		outdated.wantEnd()
		r.held(4)
		second := r.poll("me", "/a=0&__seq=4").head()
		second.want(noMessages)
		first.want(noMessages, "")
		first.wantEnd()
		r.held(4)
		r.publish("/a", 1)
		second.want("[" + message(1, "/a", "1") + "]")
	})
}

func TestHold_RefusedRequestDoesNotDropTheWinnerLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		refusedAt := 20 * time.Second
		winner := r.poll("me", "/a=0&__seq=5").head()
		winner.want(noMessages)
		<-time.After(refusedAt)
		r.poll("me", "/a=0&__seq=3").head().want(noMessages, "")
		<-time.After(4 * time.Second)
		third := r.poll("me", "/a=0&__seq=6").head()
		third.want(noMessages)
		<-time.After(22 * time.Second) // past the end of the refused one's time
		r.publish("/a", 1)
		third.want("[" + message(1, "/a", "1") + "]")
	})
}

func TestHold_MessagesOfOtherSitesAndGlobalOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Identify: byHeaders})
		none := r.poll("none", "/a=0&/global/g=0").head()
		s1 := r.poll("s1", "/a=0&/global/g=0", "X-Site: s1").head()
		none.want(noMessages)
		s1.want(noMessages)
		publish(t, r.bus.Site("s2"), "/a", 1)
		publish(t, r.bus.Site("s1"), "/a", 2)
		r.publish("/a", 3)
		r.publish("/global/g", 4)
		publish(t, r.bus.Site("s2"), "/global/g", 5)
		g := []string{"[" + message(4, "/global/g", "4") + "]", "[" + message(5, "/global/g", "5") + "]"}
		none.want("[" + message(3, "/a", "3") + "]")
		none.want(g...)
		s1.want("[" + message(2, "/a", "2") + "]")
		s1.want(g...)
	})
}

func TestShutdown_AnswersHeldRequestsAndHoldsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		q := r.poll("you", "/a=0", "Dont-Chunk: 1")
		r.held(2)
		start := time.Now()
		ended := make(chan error)
		go func() { ended <- r.handler.Shutdown(t.Context()) }()
		p.want(noMessages, "")
		p.wantEnd()
		if got := q.head().body(); got != noMessages {
			t.Errorf("body %s", got)
		}
		if err := <-ended; err != nil || time.Since(start) > 10*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.publish("/a", 1)
		if got := r.poll("me", "/a=0").head().body(); got != "["+message(1, "/a", "1")+"]" {
			t.Errorf("after Shutdown: %s", got)
		}
	})
}

func TestShutdown_CutsOffWhoDoesNotReadWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.poll("me", "/a=0").head().want(noMessages)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.handler.Shutdown(ctx); err == nil {
			t.Error("no error")
		}
		if took := time.Since(start); took != time.Second || r.handler.Held() != 0 {
			t.Errorf("took %v, %d held", took, r.handler.Held())
		}
	})
}

func TestHold_ClosedBusAnswersEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.bus.Close()
		p.want(noMessages, "")
		if p := r.poll("me", "/a=0").head(); p.status != 500 {
			t.Errorf("status %d", p.status)
		}
	})
}
