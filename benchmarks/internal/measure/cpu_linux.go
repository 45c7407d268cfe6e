package measure

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns how much processor time the process has used: all of its threads,
// those that have ended too.
func (p *Process) CPU() (time.Duration, error) {
	const schedulers = 2                   // the clock that counts in nanoseconds, of the three that a process has
	clock := int32(^p.pid)<<3 | schedulers // as clock_getcpuclockid makes it
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("the clock of process %d: %w", p.pid, err)
	}
	return time.Duration(t.Nano()), nil
}
