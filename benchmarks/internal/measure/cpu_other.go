//go:build !linux

package measure

import (
	"errors"
	"time"
)

// CPU returns how much processor time the process has used. This system does not
// tell.
func (p *Process) CPU() (time.Duration, error) {
	return 0, errors.ErrUnsupported
}
