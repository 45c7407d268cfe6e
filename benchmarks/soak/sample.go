package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A sample is what a server says of itself at one moment.
type sample struct {
	at time.Duration // since the first one

	resident, heap    float64 // bytes
	goroutines, files float64
	held              float64 // requests
	store             float64 // connections to Redis; asked for by idle alone
	collections       float64 // of garbage, since its start
}

// A watcher asks a server for its metrics.
type watcher struct {
	url   string
	every time.Duration
}

func (w watcher) ask(ctx context.Context) (sample, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return sample{}, err
	}
	request.Close = true // so that it is no open file of the server's for longer than this
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return sample{}, err
	}
	defer response.Body.Close()
	return read(response.Body)
}

// read reads the text format of Prometheus.
func read(text io.Reader) (s sample, err error) {
	wanted := map[string]*float64{
		"process_resident_memory_bytes": &s.resident,
		"go_memstats_heap_inuse_bytes":  &s.heap,
		"go_goroutines":                 &s.goroutines,
		"process_open_fds":              &s.files,
		"messagebus_held_requests":      &s.held,
		"go_gc_duration_seconds_count":  &s.collections,
	}
	for lines := bufio.NewScanner(text); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if to := wanted[name]; to != nil {
			if *to, err = strconv.ParseFloat(value, 64); err != nil {
				return s, err
			}
			delete(wanted, name)
		}
	}
	if len(wanted) > 0 {
		return s, fmt.Errorf("the server's metrics lack %v", wanted)
	}
	return s, nil
}

// watch asks again and again until stop is called. samples returns the answers then.
func (w watcher) watch(ctx context.Context) (samples func() ([]sample, error), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all []sample
	var failed error
	var watching sync.WaitGroup
	begin := time.Now()
	watching.Go(func() {
		for wait(ctx, w.every) {
			s, err := w.ask(context.WithoutCancel(ctx))
			if err != nil {
				failed = err
				return
			}
			s.at = time.Since(begin)
			all = append(all, s)
		}
	})
	return func() ([]sample, error) {
		if failed == nil && len(all) == 0 {
			failed = fmt.Errorf("nothing was asked within %v", time.Since(begin))
		}
		return all, failed
	}, func() { cancel(); watching.Wait() }
}

// idle waits until the server holds no request and has let go of what it used for them:
// its goroutines and files do not change any more. redis is where its store is, which nobody
// else uses by then.
func (w watcher) idle(ctx context.Context, redis string) (s sample, err error) {
	deadline := time.Now().Add(settle)
	for same := 0; same < settled && time.Now().Before(deadline); {
		last := s
		if s, err = w.ask(ctx); err != nil {
			return s, err
		}
		same++
		if s.held > 0 || s.goroutines != last.goroutines || s.files != last.files {
			same = 0
		}
		if !wait(ctx, w.every) {
			return s, ctx.Err()
		}
	}
	s.store, err = connections(ctx, redis)
	return s, err
}

// connections counts those of all others to a Redis server.
func connections(ctx context.Context, address string) (float64, error) {
	client := redis.NewClient(&redis.Options{Addr: address, PoolSize: 1})
	list, err := client.ClientList(ctx).Result()
	return float64(strings.Count(list, "\n") - 1), errors.Join(err, client.Close())
}
