package stores

import (
	"fmt"
	"os"
	"syscall"
)

// attributes make a server end with the test process, even if that is killed.
func attributes(abort syscall.Signal, as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: abort, Credential: as}
}

// children returns the processes that a server has started.
func children(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // it has ended, and they with it
	}
	return pids(string(text))
}
