package stores

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// attributes make a server end with the test process, even if that is killed.
func attributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Credential: as}
}

// children returns the processes that a server has started.
func children(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // it has ended, and they with it
	}
	return pids(string(text))
}

func pids(text string) []int {
	var found []int
	for word := range strings.FieldsSeq(text) {
		if pid, err := strconv.Atoi(word); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
