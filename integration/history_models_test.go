package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/history"
	"github.com/messagebus-go/messagebus/integration/modelstore"
)

// Histories on models of Redis and Postgres, in bubbles: many of them in little time,
// with faults that a real server would have to be brought to with great pains.

func TestFaultHistory_RedisModel(t *testing.T) { t.Parallel(); playInBubbles(t, 2, redisModelStage) }
func TestFaultHistory_PostgresModel(t *testing.T) {
	t.Parallel()
	playInBubbles(t, 2, postgresModelStage)
}

// modelSlowest is less than a hole is waited for.
const modelSlowest = 200 * time.Millisecond

// modelLatency is mostly that of a network nearby, and seldom that of a busy server.
func modelLatency() time.Duration {
	switch rand.IntN(100) {
	case 0:
		return rand.N(modelSlowest)
	case 1, 2, 3, 4:
		return rand.N(40 * time.Millisecond)
	default:
		return rand.N(2 * time.Millisecond)
	}
}

// modelStage is what both models have: peers, and what happens to them.
func modelStage(store *modelstore.Store) stage {
	var s stage
	peers := make([]*modelstore.Peer, historyPeers)
	for i := range peers {
		peers[i] = store.Dial()
		s.peers = append(s.peers, peers[i])
	}
	// some are one peer, or all of them.
	some := func(p *play) []*modelstore.Peer {
		if i := p.random.IntN(len(peers) + 1); i < len(peers) {
			return peers[i : i+1]
		}
		return peers
	}
	each := func(f func(*modelstore.Peer)) func(*play) {
		return func(p *play) {
			for _, peer := range some(p) {
				f(peer)
			}
		}
	}
	during := func(least, most int, f func(peer *modelstore.Peer, on bool)) func(*play) {
		return func(p *play) {
			chosen := some(p)
			for _, peer := range chosen {
				f(peer, true)
			}
			p.wait(least, most)
			for _, peer := range chosen {
				f(peer, false)
			}
		}
	}
	s.faults = []fault{
		{"cut the feeds", 3, each((*modelstore.Peer).CutFeeds)},
		{"cut connections", 3, each((*modelstore.Peer).Cut)},
		{"half-open connections", 2, during(500, 6000, (*modelstore.Peer).Silence)},
		{"no connections", 2, during(500, 4000, (*modelstore.Peer).Refuse)},
		{"lose answers", 2, func(p *play) {
			n := 1 + p.random.IntN(5)
			each(func(peer *modelstore.Peer) { peer.LoseAnswers(n) })(p)
		}},
		{"read-only", 2, func(p *play) {
			store.SetReadOnly(true)
			p.wait(500, 4000)
			store.SetReadOnly(false)
		}},
		{"announce what is no message", 1, func(*play) { store.Announce("no message") }},
		{"failover", 2, func(p *play) {
			p.h.Break(history.Failover, func() { store.FailOver(p.random.IntN(30)) })
		}},
	}
	return s
}

func redisModelStage(p *play) stage {
	store := modelstore.NewRedis(modelLatency)
	s := modelStage(&store.Store)
	channel := func(p *play) string { return [...]string{"/a", "/b"}[p.random.IntN(2)] }
	s.faults = append(s.faults, []fault{
		{"trim", 2, func(p *play) { store.Trim(channel(p), p.random.IntN(20)) }},
		{"trim all", 1, func(p *play) { store.TrimGlobal(p.random.IntN(200)) }},
		{"lose a channel's id", 2, func(p *play) { store.ForgetID(channel(p)) }},
		{"expire a channel", 2, func(p *play) {
			expired := channel(p)
			p.h.Restart(expired, func() { store.Expire(expired) })
		}},
		{"flush", 2, func(p *play) { p.h.Break(history.Wipe, store.Flush) }},
	}...)
	return s
}

func postgresModelStage(p *play) stage {
	store := modelstore.NewPostgres(modelLatency)
	s := modelStage(&store.Store)
	s.faults = append(s.faults, []fault{
		{"crash", 2, func(*play) { store.Crash() }},
		{"truncate", 2, func(*play) { store.Truncate(false) }},
		// Not as far as what is still to be committed: no trim comes there.
		{"delete the oldest", 2, func(p *play) { store.Trim(200 + p.random.Int64N(200)) }},
		{"truncate and begin again", 1, func(p *play) {
			p.h.Break(history.Wipe, func() { store.Truncate(true) })
		}},
		{"drop the table", 1, func(p *play) { p.h.Break(history.Wipe, store.Drop) }},
	}...)
	if p.seed%2 == 0 { // without plain publishers nothing comes late
		return s
	}
	p.h.MayBeLate = true
	for i := range 5 {
		random := rand.New(rand.NewPCG(p.seed, uint64(2000+i)))
		s.others = append(s.others, func(ctx context.Context) {
			for pause(ctx, time.Duration(random.ExpFloat64()*float64(historyPause))) {
				publishPlainly(p, store, random)
			}
		})
	}
	return s
}

// publishPlainly publishes as the gem does. Of a message that others have overtaken, that
// took long, or that was trimmed before it was announced it says that its outcome is
// unknown: a reader that was not connected may miss it.
func publishPlainly(p *play, store *modelstore.Postgres, random *rand.Rand) {
	at := historyPlaces[random.IntN(3)] // without a site
	_ = p.h.Publish(at.name(), func(number int) (int64, int64, error) {
		payload := history.Payload{Number: number}
		if random.IntN(20) == 0 { // too long to be announced
			payload.Padding = strings.Repeat("x", 9000)
		}
		data, err := json.Marshal(payload)
		if err != nil {
			return 0, 0, err
		}
		envelope := fmt.Sprintf(`{"data":%s,"user_ids":null,"group_ids":null,"client_ids":null}`, data)
		began := time.Now()
		t, err := store.Begin(at.channel, []byte(envelope))
		if err != nil {
			return 0, 0, err
		}
		pause(context.WithoutCancel(p.Context()), plainDelay(random))
		if random.IntN(10) == 0 {
			return 0, 0, errHistory // rolled back
		}
		inOrder, err := t.Commit()
		if err != nil {
			return 0, 0, err
		}
		pause(context.WithoutCancel(p.Context()), plainDelay(random))
		prompt := time.Since(began) < modelstore.SettleHole-modelSlowest
		if announced := t.Announce(); !inOrder || !announced || !prompt {
			return 0, 0, bus.ErrUnknownOutcome
		}
		return t.ID(), t.ID(), nil
	})
}

// plainDelay is what a plain publisher takes between two of its steps.
func plainDelay(random *rand.Rand) time.Duration {
	if random.IntN(10) == 0 {
		return time.Duration(random.Int64N(int64(2 * time.Second)))
	}
	return time.Duration(random.Int64N(int64(10 * time.Millisecond)))
}
