package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/integration/stores"
)

const (
	sampleEvery = 2 * time.Second

	// settle bounds how long the server may take to let go of what clients used, and
	// so many samples that are alike say that it has.
	settle  = 2 * time.Minute
	settled = 5
)

// growth watches one server under load, asking every so often, and draws what it saw where
// plot names a file.
//
// What the server has without clients is asked after a short load of the same kind, and
// again after the long one. Its connections to Redis stay open, as many as were ever used
// at once, and are counted apart.
func growth(ctx context.Context, tb testing.TB, duration, every time.Duration, plot string) ([]measure.Result, error) {
	tb.Helper()
	redis := stores.Redis(tb)
	store := redis.URL()
	public, admin := port.Address(tb), port.Address(tb)
	serve(tb, public, store, "--admin-listen", admin)
	server := watcher{"http://" + admin + "/metrics", every}

	l := load{clients: 200, channels: 20, rate: 100, duration: duration}
	first := l
	first.duration = duration / 120
	if _, err := first.put(ctx, tb, public, store); err != nil {
		return nil, err
	}
	before, err := server.idle(ctx, redis.Addr())
	if err != nil {
		return nil, err
	}

	samples, stop := server.watch(ctx)
	r, failed := l.put(ctx, tb, public, store)
	stop()
	course, err := samples()
	if err != nil {
		return nil, err
	}
	after, err := server.idle(ctx, redis.Addr())
	if err != nil {
		return nil, err
	}
	if plot != "" {
		if err := picture(plot, course); err != nil {
			return nil, err
		}
	}
	return append(l.results(r), grown(l, course, before, after)...), failed
}

// grown compares the end of a course with its first quarter, and the server without
// clients with what it was.
func grown(l load, course []sample, before, after sample) []measure.Result {
	quarter := l.duration / 4
	early, late := around(course, quarter), around(course, l.duration)
	one := func(name, unit, beside string, most, ours, other float64) measure.Result {
		f := measure.Figure{Name: name, Unit: unit, Beside: beside, Target: measure.Target{AtMost: most}}
		return f.Result(fmt.Sprintf("the server, %v", l.duration), []measure.Pair{{Ours: ours, Other: other}})
	}
	const mebi = 1 << 20
	beside := fmt.Sprintf("after %v", quarter)
	return []measure.Result{
		one("resident at the end", "MiB", beside, 1.1, late.resident/mebi, early.resident/mebi),
		one("heap in use at the end", "MiB", beside, 0, late.heap/mebi, early.heap/mebi),
		one("garbage collections", "", "", 0, course[len(course)-1].collections-course[0].collections, 0),
		one("goroutines without clients", "", "before", 1, after.goroutines, before.goroutines),
		one("open files without clients and store", "", "before", 1, after.files-after.store, before.files-before.store),
		one("connections to Redis", "", "before", 0, after.store, before.store),
	}
}

// around returns the median of each figure in the last twentieth of the course before a
// moment: long enough for collections of garbage, which free memory by turns.
func around(course []sample, moment time.Duration) sample {
	span := course[len(course)-1].at / 20
	var near []sample
	for _, s := range course {
		if s.at <= moment && s.at >= moment-span || len(near) == 0 {
			near = append(near, s)
		}
	}
	middle := func(of func(sample) float64) float64 {
		values := make([]float64, len(near))
		for i, s := range near {
			values[i] = of(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return sample{
		resident: middle(func(s sample) float64 { return s.resident }),
		heap:     middle(func(s sample) float64 { return s.heap }),
	}
}
