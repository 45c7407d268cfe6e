package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// stopping is one client among many that does not read what is sent to it, which
// is a lot, beside one that does.
func stopping(size scale) row {
	return row{
		name: fmt.Sprintf("one of %d streaming clients stops reading", size.some),
		figures: []measure.Figure{
			{Name: "publish to the others, p99", Unit: "ms", Beside: "it goes on reading", Target: measure.Target{AtMost: 1.2}},
			{Name: "resident memory while it does", Unit: "MB", Beside: "it goes on reading", Target: measure.Target{AtMost: 1.2}},
		},
		prepare: func(ctx context.Context, tb testing.TB, r *rig) (run, error) {
			tb.Helper()
			sides, err := r.bothSides(ctx, tb, "ours")
			if err != nil {
				return nil, err
			}
			for _, s := range sides {
				if err := s.connect(size.some-1, command{}); err != nil {
					return nil, err
				}
			}
			runs := 0
			return func(ctx context.Context) ([]measure.Pair, error) {
				runs++
				var rounds [2]round
				var left [2]memory
				for i, s := range sides {
					heavy := command{Do: "special", Address: s.address, Stops: i == 0, Channel: fmt.Sprint("/heavy/", runs)}
					if rounds[i], left[i], err = s.runBeside(ctx, r.at10(s), heavy); err != nil {
						return nil, err
					}
				}
				return []measure.Pair{
					p99Pair(rounds[:]),
					{Ours: float64(left[0].Resident) / 1e6, Other: float64(left[1].Resident) / 1e6},
				}, nil
			}, nil
		},
	}
}

// runBeside carries out a round while another client is sent bulky messages, and
// returns what memory the server has at its end.
func (s *side) runBeside(ctx context.Context, f flow, other command) (r round, m memory, err error) {
	if err := s.crowd.Ask(other, nil); err != nil {
		return r, m, err
	}
	ended := make(chan error, 1)
	stop := make(chan struct{})
	go func() { ended <- publishBulky(ctx, s, other.Channel, stop) }()
	r, err = s.run(ctx, f)
	close(stop)
	if failed := <-ended; err == nil {
		err = failed
	}
	if err != nil {
		return r, m, err
	}
	if err := s.server.Ask(question{Ask: "memory"}, &m); err != nil {
		return r, m, err
	}
	return r, m, s.crowd.Ask(command{Do: "dismiss"}, nil)
}

// publishBulky publishes 6 MB a second.
func publishBulky(ctx context.Context, s *side, channel string, stop <-chan struct{}) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := s.publisher.Publish(ctx, channel, bulky()); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-stop:
			return nil
		}
	}
}
