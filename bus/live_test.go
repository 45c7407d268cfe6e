package bus_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

func TestHealth_LiveIsTheFeedAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		if b.Health().Live {
			t.Error("live before the first subscription")
		}
		if _, err := b.Subscribe(t.Context(), "/a", bus.Latest()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		store.Faults().SetReadOnly(true)
		if h := b.Health(); !h.Live {
			t.Errorf("not live while the store is read-only: %v", h.Reasons)
		}
		store.Faults().FailRequests(errors.New("down"))
		store.Faults().CutFeeds(errors.New("cut"))
		synctest.Wait()
		if b.Health().Live {
			t.Error("live without a feed")
		}
		store.Faults().FailRequests(nil)
	})
}

func TestDecodeError_HasTheEnvelope(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store, nil)
	sub, err := b.Subscribe(t.Context(), "/a", bus.Latest())
	if err != nil {
		t.Fatal(err)
	}
	limits := driver.Limits{MaxSize: 9, MaxGlobalSize: 9, MaxAge: 1e9, ClearEvery: 1}
	if _, err := store.Publish(t.Context(), "/a", []byte("what"), limits); err != nil {
		t.Fatal(err)
	}
	_, err = sub.Next(t.Context())
	if e, ok := errors.AsType[*bus.DecodeError](err); !ok || string(e.Data) != "what" {
		t.Errorf("Next: %v, want a DecodeError with the envelope", err)
	}
}

func TestSiteName_IsTheViews(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	if name, sited := b.SiteName(); name != "" || sited {
		t.Errorf("the root bus: %q, %v", name, sited)
	}
	if name, sited := b.Site("one").SiteName(); name != "one" || !sited {
		t.Errorf("the view of site one: %q, %v", name, sited)
	}
	if name, sited := b.Site("one").Root().SiteName(); name != "" || sited {
		t.Errorf("back at the root: %q, %v", name, sited)
	}
}
