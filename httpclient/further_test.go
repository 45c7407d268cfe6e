package httpclient_test

import (
	"encoding/json"
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
