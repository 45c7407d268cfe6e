//go:build !linux

package stores

import (
	"os/exec"
	"strconv"
	"syscall"
)

// attributes cannot make a server end with a test process that is killed: only
// Linux has a way.
func attributes(_ syscall.Signal, as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as}
}

// children returns the processes that a server has started.
func children(pid int) []int {
	text, err := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil // it has none
	}
	return pids(string(text))
}
