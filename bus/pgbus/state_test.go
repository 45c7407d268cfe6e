package pgbus

import (
	"context"
	"testing"
)

func TestState_WarnsOfAQueueThatFillsUp(t *testing.T) {
	t.Parallel()
	for usage, want := range map[string]string{"0": "", "0.49": "", "0.5": queueWarning, "1": queueWarning} {
		b, _ := newBackend(t, func(s *session) {
			if _, ok := s.request(); ok {
				s.row([]uint32{20, 20, 25, 25, 16, 701}, "7", "6", "an epoch", "a timeline", "f", usage)
				s.ready()
				s.request()
			}
		})
		got, err := b.State(context.Background())
		if err != nil || got.Warning != want || got.GlobalID != 7 || got.Settled != 6 {
			t.Errorf("the queue is full to %s: %+v, %v; want the warning %q", usage, got, err, want)
		}
	}
}
