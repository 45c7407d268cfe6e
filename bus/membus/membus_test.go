package membus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/bus/membus"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// roomy are limits that keep everything that a test publishes.
var roomy = driver.Limits{MaxSize: 1e6, MaxGlobalSize: 1e6, MaxAge: time.Hour, ClearEvery: 1}

type bundle struct {
	*testing.T
	*membus.Backend
}

func setup(t *testing.T, opts *membus.Options) bundle {
	t.Helper()
	b, err := membus.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return bundle{t, b}
}

func (b bundle) publish(channel string, l driver.Limits) int64 {
	b.Helper()
	p, err := b.Publish(b.Context(), channel, []byte("data"), l)
	if err != nil {
		b.Fatal(err)
	}
	return p.ID
}

func (b bundle) page(r driver.Range) driver.Page {
	b.Helper()
	s, err := b.Read(b.Context(), []driver.Range{r})
	if err != nil {
		b.Fatal(err)
	}
	return s.Pages[0]
}

func (b bundle) listen() driver.Stream {
	b.Helper()
	s, err := b.Listen(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (b bundle) wantIDs(channel string, want ...int64) {
	b.Helper()
	var ids []int64
	for _, m := range b.page(driver.Range{Channel: channel}).Messages {
		ids = append(ids, m.ID)
	}
	if !slices.Equal(ids, want) {
		b.Errorf("%s holds the ids %v, want %v", channel, ids, want)
	}
}

func (b bundle) wantLoss(channel string, after int64, want driver.Loss) {
	b.Helper()
	if got := b.page(driver.Range{Channel: channel, After: after}).Loss; got != want {
		b.Errorf("loss on %s after %d: %d, want %d", channel, after, got, want)
	}
}

func TestNew_RefusesNegativeOptions(t *testing.T) {
	t.Parallel()
	if _, err := membus.New(&membus.Options{FeedBytes: -5}); err == nil || !strings.Contains(err.Error(), "-5") {
		t.Errorf("New: %v, want an error that names -5", err)
	}
}

func TestExpiry_CountsFromTheNewestMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil)
		short := roomy
		short.MaxAge = 10 * time.Second
		b.publish("/a", short)
		b.publish("/b", roomy)
		<-time.After(9 * time.Second) // the bubble's clock
		b.publish("/a", short)
		<-time.After(10*time.Second - 1)
		b.wantIDs("/a", 1, 3)
		<-time.After(1)
		b.wantIDs("/a")
		b.wantIDs("/b", 2)
		b.wantLoss("/a", 2, driver.LossPossible)
		b.wantLoss("/a", 3, driver.LossNone)
		b.wantLoss("/b", 0, driver.LossNone)
		if id := b.publish("/a", roomy); id != 4 {
			t.Errorf("id %d after the expiry, want 4", id)
		}
		b.wantIDs("/a", 4)
	})
}

func TestExpiry_ANewPublishSetsTheAgeAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil)
		short := roomy
		short.MaxAge = time.Second
		b.publish("/a", roomy)
		b.publish("/a", short)
		<-time.After(time.Second)
		p, err := b.GlobalBacklog(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Messages) != 0 || p.Loss != driver.LossCertain {
			t.Errorf("%d messages and loss %d, want none and a certain loss", len(p.Messages), p.Loss)
		}
	})
}

func TestLoss_IsExactWhileTheChannelHasMessages(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	two := roomy
	two.MaxSize = 2
	for range 3 {
		b.publish("/a", two) // 1, 3, 5
		b.publish("/b", roomy)
	}
	for after, want := range []driver.Loss{driver.LossCertain, driver.LossNone, driver.LossNone} {
		b.wantLoss("/a", int64(after), want)
	}
	b.wantLoss("/b", 0, driver.LossNone)
	b.wantLoss("/never", 0, driver.LossNone)
}

func TestLoss_IsPossibleOnceTheRecordIsForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.publish("/a", roomy)
	b.publish("/b", roomy)
	b.Faults().Trim("/a", 0)
	b.wantLoss("/a", 0, driver.LossPossible)
	b.wantLoss("/a", 1, driver.LossNone)
	b.wantLoss("/b", 0, driver.LossNone) // its own record knows better
	b.publish("/a", roomy)
	b.wantLoss("/a", 0, driver.LossPossible)
	b.wantLoss("/a", 1, driver.LossNone)
	b.Faults().Trim("/a", 0)
	b.wantLoss("/a", 2, driver.LossPossible)
	b.wantLoss("/a", 3, driver.LossNone)
}

func TestFeed_EndsWhenItsReaderIsTooFarBehind(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]membus.Options{
		"messages": {FeedMessages: 3},
		"bytes":    {FeedBytes: 3 * len("/adata")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, &opts)
			s := b.listen()
			for range 3 {
				b.publish("/a", roomy)
			}
			if m, err := s.Next(t.Context()); err != nil || m.ID != 1 {
				t.Fatalf("full, but not too full: %+v, %v", m, err)
			}
			b.publish("/a", roomy)
			b.publish("/a", roomy)
			if _, err := s.Next(t.Context()); !errors.Is(err, driver.ErrFeedOverflow) {
				t.Errorf("Next after too many: %v, want ErrFeedOverflow", err)
			}
			b.publish("/a", roomy)
			if _, err := s.Next(t.Context()); !errors.Is(err, driver.ErrFeedOverflow) {
				t.Errorf("Next once more: %v, want ErrFeedOverflow", err)
			}
		})
	}
}

func TestFeed_TakesOneMessageOfAnySize(t *testing.T) {
	t.Parallel()
	b := setup(t, &membus.Options{FeedBytes: 1})
	s := b.listen()
	b.publish("/a", roomy)
	if _, err := s.Next(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDial_PeersCloseForThemselves(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	peer := bundle{t, b.Dial()}
	mine, other := b.listen(), peer.listen()
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	b.publish("/a", roomy)
	if _, err := other.Next(t.Context()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("the closed peer's stream: %v, want ErrClosed", err)
	}
	if m, err := mine.Next(t.Context()); err != nil || m.ID != 1 {
		t.Errorf("the other's stream: %+v, %v", m, err)
	}
	if _, err := peer.State(context.Background()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("State: %v, want ErrClosed", err)
	}
}

// A store whose channels come and go must not grow.
func TestMemory_IsBoundedByWhatIsStored(t *testing.T) {
	t.Parallel()
	allowed := map[string]driver.Limits{
		"global":  {MaxSize: 10, MaxGlobalSize: 100, MaxAge: time.Hour, ClearEvery: 1},
		"channel": {MaxSize: 1, MaxGlobalSize: 1 << 40, MaxAge: time.Hour, ClearEvery: 1},
		"nothing": {MaxSize: 0, MaxGlobalSize: 1 << 40, MaxAge: time.Hour, ClearEvery: 1},
	}
	for name, l := range allowed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			for i := range 20_000 {
				channel := fmt.Sprintf("/%d", i)
				if name == "channel" {
					channel = fmt.Sprintf("/%d", i%100)
				}
				b.publish(channel, l)
			}
			channels, messages, entries := b.Sizes()
			if channels > 100 || messages > 100 || entries > 200 {
				t.Errorf("%d channels, %d messages, %d entries of the global order; want at most 100, 100, 200",
					channels, messages, entries)
			}
		})
	}
}
