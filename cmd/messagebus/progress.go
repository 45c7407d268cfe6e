package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// tell keeps one line of a terminal up to date until stop, which empties it. Without a
// terminal it does nothing.
func tell(w io.Writer, every time.Duration, line func() string) (stop func()) {
	if w == nil {
		return func() {}
	}
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprint(w, "\r\x1b[K"+line())
			case <-ended:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	})
	return func() {
		close(ended)
		telling.Wait()
	}
}

// terminal returns w if it is one.
func terminal(w io.Writer) io.Writer {
	file, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return w
}
