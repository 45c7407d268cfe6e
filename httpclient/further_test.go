package httpclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

func positionOf(t *testing.T, text string) (p httpclient.Position) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func gapMessage(reason string, after, next int, epoch string) string {
	return fmt.Sprintf(`{"global_id":-1,"message_id":-1,"channel":"/__gap","data":{"/a":{"after":%d,"next":%d,"reason":%q,"epoch":%q}}}`, after, next, reason, epoch)
}

// The new server has what the request asked from, and gives the ids behind that again.
func TestGap_OfAFailoverSaysNothingOfASubscriptionThatIsFurtherOn(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		switch n {
		case 0:
			w.Header().Set("Message-Bus-Epoch", "e~1")
			parts(w, r, "[]", "["+gapMessage("failover", 2, 3, "e~2")+"]", "["+message(3)+"]", "["+message(4)+"]")
		case 1:
			w.Header().Set("Message-Bus-Epoch", "e~2")
			_, _ = io.WriteString(w, "["+gapMessage("reset", 4, 3, "e~2")+","+message(3)+","+message(4)+"]")
		default:
			w.Header().Set("Message-Bus-Epoch", "e~2")
			parts(w, r, "["+message(3)+","+message(4)+"]")
		}
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		behind := r.subscribe(c, "/a", positionOf(r.T, `{"id":2,"global_id":20,"epoch":"e~1"}`))
		further := r.subscribe(c, "/a", positionOf(r.T, `{"id":4,"global_id":40,"epoch":"e~1"}`))
		pass(time.Minute)
		if got := behind.ids(); got != "3 4" {
			r.Errorf("the one that was asked for got %q", got)
		}
		if got := further.ids(); got != "3 4" {
			r.Errorf("the one that was further on got %q, want all that is stored", got)
		}
		if asked := r.requests(); len(asked) < 2 || !strings.Contains(asked[1].body, `{\"e~1\":{\"/a\":40}}`) {
			r.Errorf("requests %v; want one from the place that was further on", asked)
		}
	})
}

// From its own place on a subscription is served as the one that was asked for.
func TestGap_OfAFailoverIsToldToASubscriptionThatTheAnswerHasCaughtUpWith(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Message-Bus-Epoch", "e~1")
		parts(w, r, "["+message(3)+","+message(4)+"]", "["+gapMessage("failover", 4, 5, "e~2")+"]", "["+message(5)+"]")
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		behind := r.subscribe(c, "/a", positionOf(r.T, `{"id":2,"global_id":20,"epoch":"e~1"}`))
		further := r.subscribe(c, "/a", positionOf(r.T, `{"id":4,"global_id":40,"epoch":"e~1"}`))
		pass(time.Minute)
		if got := behind.ids() + ", " + further.ids(); got != "3 4 5, 5" {
			r.Errorf("they got %q", got)
		}
		if asked := r.requests(); len(asked) != 1 {
			r.Errorf("%d requests, want one", len(asked))
		}
	})
}

// Where ids are those of the whole store, a status passes some without a message of the channel.
func TestGap_OfAFailoverGoesBackBehindWhatAStatusHasPassed(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Message-Bus-Epoch", "e~1")
		parts(w, r, "["+message(4)+"]", "["+status("/a", 9)+"]", "["+gapMessage("failover", 9, 7, "e~2")+"]", "["+message(8)+"]")
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		s := r.subscribe(c, "/a", positionOf(r.T, `{"id":3,"global_id":30,"epoch":"e~1"}`))
		pass(time.Minute)
		if got := s.ids(); got != "4 8" {
			r.Errorf("got %q, want what the new server gave an id that was passed", got)
		}
	})
}

// Where ids are those of the whole store, a hole in them shows nothing, and a new reader from
// the beginning is told of none.
func TestGap_BeforeAnAnswerFromFurtherBackIsAskedForByASubscriptionThatIsFurtherOn(t *testing.T) {
	t.Parallel()
	for name, came := range map[string]string{"a message": message(7), "a status": status("/a", 7)} {
		bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Message-Bus-Epoch", "e~1")
			switch n {
			case 0:
				parts(w, r, "[]", "["+came+"]")
			case 1:
				_, _ = io.WriteString(w, "["+gapMessage("possible", 5, 7, "e~1")+","+message(7)+"]")
			default:
				parts(w, r, "["+message(7)+","+message(8)+"]")
			}
		}, func(r *rig) {
			c := r.new(httpclient.Options{})
			further, err := c.Subscribe("/a", positionOf(r.T, `{"id":5,"global_id":50,"epoch":"e~1"}`), nil)
			if err != nil {
				r.Fatal(err)
			}
			r.subscribe(c, "/a", httpclient.After(0))
			pass(time.Minute)
			_, err = further.Next(r.Context())
			if gap, told := errors.AsType[*httpclient.GapError](err); !told || gap.After != 5 || gap.Next != 7 {
				r.Errorf("%s: told %v, want what the server says between 5 and 7", name, err)
			}
			for _, want := range []int64{7, 8} {
				if m, err := further.Next(r.Context()); m.ID != want || err != nil {
					r.Errorf("%s: got %d, %v, want %d", name, m.ID, err, want)
				}
			}
			if asked := r.requests(); len(asked) < 2 || !strings.Contains(asked[1].body, `{\"e~1\":{\"/a\":50}}`) {
				r.Errorf("%s: requests %v; want one from the place that was further on", name, asked)
			}
		})
	}
}
