package stores

import (
	"errors"
	"sync"
	"testing"
)

// shared holds what outlives single tests: one value, made when it is first asked
// for, and what ends it.
type shared[T any] struct {
	mu    sync.Mutex // guards below
	value T
	made  bool
	end   func() error
}

// get returns the value, and makes it where there is none. Making it is tried again
// after a failure.
func (s *shared[T]) get(build func() (value T, end func() error, err error)) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made {
		return s.value, nil
	}
	value, end, err := build()
	if err != nil {
		return value, err
	}
	s.value, s.end, s.made = value, end, true
	return value, nil
}

func (s *shared[T]) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.made {
		return nil
	}
	s.made = false
	return s.end()
}

// Close ends what the tests of this binary have shared. TestMain calls it when the
// tests have ended.
func Close() error {
	return errors.Join(sharedRedis.close(), sharedPostgres.close())
}

// mute is a testing.TB for servers that outlive the test which happened to start
// them: they report nothing to it.
type mute struct{ testing.TB }

// Helper does nothing.
func (mute) Helper() {}
