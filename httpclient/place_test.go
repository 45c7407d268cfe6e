package httpclient_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

// vouched answers as a server of this project does, which names its epoch.
func vouched(w http.ResponseWriter, r *http.Request, epoch string, all ...string) {
	w.Header().Set("Message-Bus-Epoch", epoch)
	parts(w, r, all...)
}

func TestClient_AMessageThatComesLateIsHandedOverOnce(t *testing.T) {
	t.Parallel()
	late := "[" + message(4) + "," + status("/a", 5) + "]"
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		vouched(w, r, "e",
			"["+message(3)+","+message(5)+"]",
			"["+message(2)+"]", // without a status it is one that comes again
			late, late,
			"["+message(3)+","+status("/a", 5)+"]", // it was had
			"["+message(6)+"]", late)
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		got := r.subscribe(c, "/a", httpclient.After(2))
		pass(time.Second)
		if got.ids() != "3 5 4 6" || len(r.errors()) > 0 {
			r.Errorf("messages %s, errors %v", got.ids(), r.errors())
		}
		if id, _ := c.Positions()["/a"].ID(); id != 6 {
			r.Errorf("position %d", id)
		}
	})
}

func TestClient_OfLateMessagesThatAreTooManyToKeepTheRestIsAGap(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		many := make([]string, 70)
		for i := range many {
			many[i] = message(3 + i)
		}
		long := func(id int) string {
			return strings.Replace(message(id), fmt.Sprintf(`"data":%d`, id), fmt.Sprintf(`"data":%q`, strings.Repeat("x", 1500)), 1)
		}
		vouched(w, r, "e",
			"["+message(100)+"]",
			"["+strings.Join(many, ",")+","+status("/a", 100)+"]",
			"["+long(80)+","+long(81)+","+long(83)+","+long(82)+","+status("/a", 100)+"]",
			"["+long(85)+","+long(86)+","+long(87)+"]", // these come again
			"["+message(101)+"]")
	}, func(r *rig) {
		got := r.subscribe(r.new(httpclient.Options{MaxMessageBytes: 4096}), "/a", httpclient.After(2))
		pass(time.Second)
		want := "100"
		for id := 3; id < 3+64; id++ {
			want += fmt.Sprint(" ", id)
		}
		if got.ids() != want+" 80 81 101" {
			r.Errorf("messages %s", got.ids())
		}
		var gaps []string
		for _, err := range r.errors() {
			gaps = append(gaps, err.Error())
		}
		if got := strings.Join(gaps, "; "); !strings.Contains(got, "between ids 66 and 73: possible; ") || !strings.HasSuffix(got, "between ids 81 and 84: possible") {
			r.Errorf("errors %s", got)
		}
	})
}

func TestClient_AStaleStatusOfAServerThatVouchesMovesNothingBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		switch n {
		case 0:
			w.Header().Set("Message-Bus-Epoch", "e")
			_, _ = io.WriteString(w, "["+message(3)+","+message(5)+"]")
		case 1:
			w.Header().Set("Message-Bus-Epoch", "e")
			_, _ = io.WriteString(w, "["+message(3)+","+status("/a", 3)+"]")
		default:
			vouched(w, r, "e", "["+message(6)+"]")
		}
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		got := r.subscribe(c, "/a", httpclient.After(2))
		pass(time.Minute)
		if got.ids() != "3 5 6" || len(r.errors()) > 0 {
			r.Errorf("messages %s, errors %v", got.ids(), r.errors())
		}
		if last := r.requests()[2].body; !strings.Contains(last, `"/a":5`) || !strings.Contains(last, `~{\"e\":{\"/a\":50}}`) {
			r.Errorf("the third request is %s", last)
		}
	})
}

func TestClient_ARubyServersIdsThatGoBackAreAReset(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{
		"a status":  "[" + status("/a", 1) + "]",
		"a message": "[" + messageOf("/a", 2, 10) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n == 0 {
					_, _ = io.WriteString(w, "["+messageOf("/a", 1, 55)+","+messageOf("/a", 7, 70)+"]")
					return
				}
				parts(w, r, strings.Replace(second, `"global_id":10`, `"global_id":90`, 1), "["+messageOf("/a", 3, 95)+"]")
			}, func(r *rig) {
				got := r.subscribe(r.new(httpclient.Options{}), "/a", httpclient.After(0))
				pass(time.Minute)
				if !strings.HasSuffix(got.ids(), "7 2 3") && got.ids() != "1 7 3" {
					r.Errorf("messages %s", got.ids())
				}
				if errs := r.errors(); len(errs) != 1 || !strings.Contains(errs[0].Error(), `gap on "/a" between ids 7 and 2: reset`) {
					r.Errorf("errors %v", errs)
				}
			})
		})
	}
}

func TestSchedule_WaitsAsItSays(t *testing.T) {
	t.Parallel()
	timing := httpclient.Timing{MinPollInterval: time.Second, MaxPollInterval: time.Minute, CallbackInterval: 15 * time.Second}
	next := httpclient.Schedule(timing, func() float64 { return 0.999999 })
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want-10*time.Millisecond || got > want+10*time.Millisecond {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("held, something came", next(httpclient.Moved, httpclient.Hold, time.Second, 0), time.Second)
	near("held, nothing came", next(httpclient.Quiet, httpclient.Hold, 25*time.Second, 0), time.Second)
	near("not held after all", next(httpclient.Quiet, httpclient.Hold, 100*time.Millisecond, 0), 14900*time.Millisecond)
	near("polled", next(httpclient.Moved, httpclient.Poll, 3*time.Second, 0), 12*time.Second)
	near("polled slowly", next(httpclient.Quiet, httpclient.Poll, time.Minute, 0), time.Second)
	near("looked up", next(httpclient.Moved, httpclient.LookUp, time.Second, 0), time.Second)
	near("kept back", next(httpclient.Buffered, httpclient.Hold, 3*time.Second, 0), time.Second)
	near("asked to wait", next(httpclient.Refused, httpclient.Hold, time.Second, 20*time.Second), 22*time.Second)
	near("asked to wait a day", next(httpclient.Refused, httpclient.Hold, time.Second, 24*time.Hour), 66*time.Minute)
	near("told when", next(httpclient.Quiet, httpclient.Hold, time.Second, 7*time.Second), 7*time.Second)
	for want := time.Second; want < time.Minute; want *= 2 {
		near("failed", next(httpclient.Failed, httpclient.Hold, time.Second, 0), want)
	}
	for range 100 {
		next(httpclient.Failed, httpclient.Hold, 0, 0)
	}
	near("failed a hundred times", next(httpclient.Failed, httpclient.Hold, 0, 0), time.Minute)
	near("failed after a long time", next(httpclient.Failed, httpclient.Hold, 20*time.Second, 0), time.Second)
	next(httpclient.Moved, httpclient.Hold, 0, 0)
	near("failed after something good", next(httpclient.Failed, httpclient.Hold, 0, 0), time.Second)
}

func TestClient_AChannelForgetsItsStoredPositionWithItsLastSubscription(t *testing.T) {
	t.Parallel()
	bubble(t, silent, func(r *rig) {
		c := r.new(httpclient.Options{Positions: map[string]httpclient.Position{"/a": httpclient.After(5)}})
		asked := func() string {
			pass(time.Second)
			all := r.requests()
			return all[len(all)-1].body
		}
		first, err := c.Subscribe("/a", httpclient.After(0), nil)
		if err != nil {
			r.Fatal(err)
		}
		second, err := c.Subscribe("/a", httpclient.After(1), nil)
		if err != nil {
			r.Fatal(err)
		}
		first.Close()
		if body := asked(); !strings.Contains(body, `"/a":5`) {
			r.Errorf("request %s", body)
		}
		r.subscribe(c, "/a", httpclient.After(2))
		second.Close()
		if body := asked(); !strings.Contains(body, `"/a":5`) {
			r.Errorf("while one is left: request %s", body)
		}
		c.Unsubscribe("/a")
		r.subscribe(c, "/a", httpclient.After(3))
		if body := asked(); !strings.Contains(body, `"/a":3`) {
			r.Errorf("after the last one: request %s", body)
		}
	})
}
