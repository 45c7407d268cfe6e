package main

import (
	"context"
	"strconv"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// delivering times the way from before Publish to after the Next of a subscription in
// another process, and beside it that of the same bytes from the client library to
// the client library: announced and not stored, and stored as a bus does it.
func delivering() experiment {
	const (
		announced = "announced by the client library and not stored, heard by it"
		stored    = "the same request by the client library, heard by it"
	)
	return experiment{
		name: "deliver",
		figures: []measure.Figure{
			{Name: "publish to Next in another process, p50", Unit: "µs", Beside: announced, Target: measure.Target{AtMost: 1.2}},
			{Name: "publish to Next in another process, p99", Unit: "µs", Beside: announced, Target: measure.Target{AtMost: 1.5}},
			{Name: "publish to Next in another process, p50", Unit: "µs", Beside: stored, Target: measure.Target{AtMost: 1.2}},
			{Name: "publish to Next in another process, p99", Unit: "µs", Beside: stored, Target: measure.Target{AtMost: 1.5}},
		},
		prepare: func(ctx context.Context, tb testing.TB, s store, size scale) (run, error) {
			tb.Helper()
			mb, other := newBus(tb, s.open(tb, first, 1, nil)), s.bare(tb, 1)
			listener, err := startPeer(ctx, tb, s)
			if err != nil {
				return nil, err
			}
			now := func() string { return strconv.FormatInt(timed(), 10) }
			ways := []func(context.Context) error{
				func(ctx context.Context) error {
					_, err := mb.Publish(ctx, publishChannel, timed())
					return err
				},
				func(ctx context.Context) error {
					return other.announce(ctx, "1|1|"+publishChannel+"|"+envelope(now()))
				},
				func(ctx context.Context) error { return other.publish(ctx, envelope(now())) },
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				took, err := measure.TimeEach(ctx, listener, size.timed, ways)
				if err != nil {
					return nil, err
				}
				ours, announced, stored := took[0], took[1], took[2]
				p50, p99 := len(ours)/2, len(ours)*99/100
				return []measure.Pair{
					{Ours: ours[p50], Other: announced[p50]}, {Ours: ours[p99], Other: announced[p99]},
					{Ours: ours[p50], Other: stored[p50]}, {Ours: ours[p99], Other: stored[p99]},
				}, nil
			}, nil
		},
	}
}
