package command

import (
	"os/exec"
	"testing"
)

// Find returns the path of a program of this machine, which may lie where only root looks.
func Find(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		tb.Fatalf(`%s is not installed; run "scripts/setup.sh test"`, name)
	}
	return path
}
