package transport_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/transport"
)

// TestModel_AClientIDGetsWhatIsForTheIdentityOfEachRequest has few client ids that
// come as another user, of other groups, from another site each time, from ids that
// somebody else has got, with numbers that would replace everybody's request. They
// come in all ways, several at once.
func TestModel_AClientIDGetsWhatIsForTheIdentityOfEachRequest(t *testing.T) {
	seeds := 8
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { runThieves(t, uint64(seed)) })
	}
}

func runThieves(t *testing.T, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 5))
	r := newRig(t, socketOptions(transport.Options{
		Identify: byHeaders,
		LongPoll: transport.LongPollOptions{Hold: 3 * time.Second, MaxAge: 4 * time.Second, Heartbeat: time.Second},
		Limits:   transport.LimitOptions{MaxQueuedBytes: 1500},
	}))
	r.handler.IndexFrom(2 + int(seed%3)*100)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	var visits []*reader
	var running sync.WaitGroup
	for i := range 10 {
		random := rand.New(rand.NewPCG(seed, uint64(100+i)))
		running.Go(func() {
			for ctx.Err() == nil {
				visit := newThief(random)
				visit.session(ctx, r, random)
				mu.Lock()
				visits = append(visits, visit)
				mu.Unlock()
			}
		})
	}
	all := publishMany(t, r, rnd, func() { r.handler.Interrupt() })
	stop()
	running.Wait()
	got := 0
	for _, visit := range visits {
		got += visit.checkAllowed(t, all)
	}
	if got == 0 {
		t.Error("nobody has got anything")
	}
}

func newThief(random *rand.Rand) *reader {
	r := newReader(random.IntN(modelUsers), random.IntN(modelClients), "/a", "/b", "/c", "/global/g", "__seq")
	r.site = []string{"", "s1", "s2"}[random.IntN(3)]
	for _, channel := range r.channels {
		r.last[channel] = random.IntN(400) - 10
	}
	return r
}

// checkAllowed returns how many messages r has got, each of which must be for it.
func (r *reader) checkAllowed(t *testing.T, all []posted) (n int) {
	t.Helper()
	for channel := range r.heard {
		for _, number := range r.numbers(channel) {
			if m := all[number]; m.channel != channel || !r.mayHave(m) {
				t.Errorf("client %d of user %d of site %q got message %d, %+v", r.client, r.user, r.site, number, m)
			}
			n++
		}
	}
	return n
}
