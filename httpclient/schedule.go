package httpclient

import "time"

// A mode is how a request is made.
type mode uint8

const (
	hold   mode = iota // the server may wait for messages
	poll               // it answers at once
	lookUp             // it answers at once, and the next request follows
	events             // it is held, and answered by server-sent events
)

// An outcome is how a request ended, as far as the next one depends on it.
type outcome uint8

const (
	moved    outcome = iota // a good answer with something new
	quiet                   // a good answer without
	buffered                // something kept the answer back
	failed
	refused // the server has said when to come again
	renewed // what the server did not accept was renewed
	denied  // it must not be asked again
	changed // the subscriptions have changed
)

// A result is how a request ended.
type result struct {
	outcome outcome
	worked  bool          // a good part came, whatever came after it
	elapsed time.Duration // since its start
	wait    time.Duration // what the server asked for; 0: nothing
}

const (
	firstBackoff = time.Second

	// leastHold: what ends sooner with nothing was not held. The server is full or breaks,
	// or something in between ends it.
	leastHold = time.Second

	// mostWait is the longest wait that a server may ask for.
	mostWait = time.Hour
)

// A schedule decides when the next request goes out. It holds no clock.
type schedule struct {
	timing   *Timing
	random   func() float64 // from 0 up to, not including, 1
	failures int            // in a row
}

// next returns how long to wait from now on.
func (s *schedule) next(r result, m mode) time.Duration {
	return max(s.timing.MinPollInterval, s.delay(r, m))
}

func (s *schedule) delay(r result, m mode) time.Duration {
	switch r.outcome {
	case refused:
		// A refusal is no failure: the server works. Not all come back in one instant.
		return scale(min(r.wait, mostWait), 1+0.1*s.random())
	case failed:
		return s.backoff(r)
	case buffered, renewed:
		return 0
	default: // moved or quiet: conclude sees to the others
	}
	s.failures = 0
	if r.wait > 0 {
		return min(r.wait, mostWait)
	}
	if isPrompt(r, m) {
		return 0
	}
	return s.timing.CallbackInterval - r.elapsed
}

// backoff doubles below a bound, and waits for a random part of it.
func (s *schedule) backoff(r result) time.Duration {
	if s.wasHealthy(r) {
		s.failures = 0
	}
	s.failures++
	bound := s.timing.MaxPollInterval
	if doublings := s.failures - 1; doublings < 20 {
		bound = min(bound, firstBackoff<<doublings)
	}
	return scale(bound, s.random())
}

// wasHealthy reports whether a request that failed says nothing against the next one: a
// server that worked was stopped, or a proxy has cut a stream.
func (s *schedule) wasHealthy(r result) bool {
	if r.worked {
		// A client whose servers are replaced one by one must not wait longer each time. The
		// good part alone would not do: a server that sends one and then breaks is spared.
		return r.elapsed >= leastHold
	}
	return r.elapsed >= s.timing.CallbackInterval
}

func isPrompt(r result, m mode) bool {
	if r.outcome == moved {
		return m != poll
	}
	return (m == hold || m == events) && r.elapsed >= leastHold
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }
