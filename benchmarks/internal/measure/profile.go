package measure

import (
	"os"
	"runtime/pprof"
)

// Profile writes a profile of the processor time of this process to a file until
// stop is called. Without a name it does nothing.
func Profile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	file, err := os.Create(name) //nolint:gosec // whoever runs this names it
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close() // it is looked at by those who want it
	}, nil
}
