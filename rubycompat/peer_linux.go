package rubycompat

import "syscall"

// endsWithParent ends a program with this process, even if that is killed.
func endsWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
