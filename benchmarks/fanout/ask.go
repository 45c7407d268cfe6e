package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// asking is one client that asks for ever more channels.
func asking(size scale) row {
	counts := []int{10}
	var figures []measure.Figure
	for n := 100; n <= size.asked; n *= 10 {
		counts = append(counts, n)
		figures = append(figures, measure.Figure{
			Name: fmt.Sprintf("CPU of a channel, %d in a request", n), Unit: "µs",
			Beside: fmt.Sprintf("%d in a request", n/10), Target: measure.Target{AtMost: 1.2},
		})
	}
	most := counts[len(counts)-1]
	figures = append(figures, measure.Figure{
		Name: fmt.Sprintf("round trips to the store, %d channels", most), Beside: "1", Target: measure.Target{AtMost: 1},
	})
	return row{
		name: fmt.Sprintf("one client with 10 to %d channels", most), figures: figures,
		prepare: func(ctx context.Context, tb testing.TB, r *rig) (run, error) {
			tb.Helper()
			s, err := r.side(ctx, tb, "ours")
			if err != nil {
				return nil, err
			}
			for i := 0; i < most; i += 10 { // one in ten has a message
				if _, err := s.publisher.Publish(ctx, ownChannel(i), text); err != nil {
					return nil, err
				}
			}
			return func(ctx context.Context) ([]measure.Pair, error) { return s.askForMore(ctx, counts) }, nil
		},
	}
}

// askForMore returns what a channel costs in a request with so many, beside the
// count before, and the round trips of the last one.
func (s *side) askForMore(ctx context.Context, counts []int) (pairs []measure.Pair, err error) {
	const channels = 20_000 // in all requests of a count
	var before float64
	var turns int64
	for i, n := range counts {
		body := formOf(n)
		cpu, took, err := s.cost(func() error {
			for range max(1, channels/n) {
				if err := s.post(ctx, body); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		each := cpu / float64(max(1, channels/n)*n)
		if i > 0 {
			pairs = append(pairs, measure.Pair{Ours: each, Other: before})
		}
		before, turns = each, took/int64(max(1, channels/n))
	}
	return append(pairs, measure.Pair{Ours: float64(turns), Other: 1}), nil
}

// cost returns the microseconds of processor time and the round trips of the
// server while f runs.
func (s *side) cost(f func() error) (microseconds float64, turns int64, err error) {
	var before, after int64
	if err := s.server.Ask(question{Ask: "turns"}, &before); err != nil {
		return 0, 0, err
	}
	begin, err := s.server.CPU()
	if err != nil {
		return 0, 0, err
	}
	if err := f(); err != nil {
		return 0, 0, err
	}
	end, err := s.server.CPU()
	if err != nil {
		return 0, 0, err
	}
	err = s.server.Ask(question{Ask: "turns"}, &after)
	return (end - begin).Seconds() * 1e6, after - before, err
}

func formOf(channels int) string {
	var form strings.Builder
	for i := range channels {
		fmt.Fprintf(&form, "%s=0&", escaped(ownChannel(i)))
	}
	return strings.TrimSuffix(form.String(), "&")
}

// post asks once and does not wait for more.
func (s *side) post(ctx context.Context, form string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.address+"/message-bus/one/poll?dlp=t", strings.NewReader(form))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("the answer is %s", answer.Status)
	}
	return err
}
