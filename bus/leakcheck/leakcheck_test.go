package leakcheck

import (
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestLeaked_SeesAGoroutineUntilItEnds(t *testing.T) {
	before := goroutines()
	stop, started := make(chan struct{}), make(chan struct{})
	go func() {
		close(started)
		<-stop
	}()
	<-started
	if n := len(leaked(before)); n != 1 {
		t.Errorf("%d goroutines seen, 1 was started", n)
	}
	close(stop)
	if left := wait(before); left != nil {
		t.Errorf("still there after its end:\n%s", left)
	}
}
