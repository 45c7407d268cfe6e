package transport_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

func TestLargest_OrdersByWhatWaitsAndByChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Identify: byHeaders})
		r.poll("two", "/a=-1&/b=-1")
		r.poll("three", "/a=-1&/b=-1&/c=-1")
		r.poll("one", "/a=-1", "X-User: 7")
		r.poll("stuck", "/full=-1") // reads nothing
		r.held(4)
		for range 3 { // the first is on its way
			r.publish("/full", make([]byte, 1000))
			synctest.Wait()
		}
		var got []string
		for _, c := range r.handler.Largest(3) {
			got = append(got, fmt.Sprint(c.ClientID, " ", c.Channels, " ", c.Queued > 1000, " ", c.Behind))
		}
		if want := []string{"stuck 1 true false", "three 3 false false", "two 2 false false"}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the largest are %q, want %q", got, want)
		}
		all := r.handler.Largest(10)
		if len(all) != 4 || all[3].ClientID != "one" || all[3].Identity.UserID != bus.IntID(7) {
			t.Errorf("all are %+v", all)
		}
		if none := r.handler.Largest(0); none != nil {
			t.Errorf("the largest none are %v", none)
		}
	})
}
