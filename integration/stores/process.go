package stores

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process runs a program on this machine, in a folder of its own below the
// system's folder for temporary files.
type process struct {
	program program
	folder  string
	as      *syscall.Credential // nil: as the user who runs the test

	mu      sync.Mutex // guards below
	command *exec.Cmd
	done    chan struct{} // closed when command has ended
}

func newProcess(p program) (*process, error) {
	folder, err := os.MkdirTemp("", "messagebus-"+p.name+"-")
	if err != nil {
		return nil, err
	}
	r := &process{program: p, folder: folder}
	if err := r.fill(); err != nil {
		return nil, errors.Join(err, r.remove())
	}
	return r, nil
}

// fill writes the program's files, and hands them to the user it runs as.
func (r *process) fill() error {
	for name, text := range r.program.files {
		if err := os.WriteFile(filepath.Join(r.folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if os.Geteuid() != 0 || !r.program.notRoot {
		return nil
	}
	var err error
	if r.as, err = unprivileged(); err != nil {
		return err
	}
	if err := r.bringPrograms(); err != nil {
		return err
	}
	return filepath.Walk(r.folder, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, int(r.as.Uid), int(r.as.Gid))
	})
}

// bringPrograms copies the programs to where the unprivileged user can run them: a
// checkout of root's may be closed to others.
func (r *process) bringPrograms() error {
	if r.program.path == "" || open(r.program.path) {
		return nil
	}
	copied := filepath.Join(r.folder, "programs")
	whole := filepath.Dir(r.program.path)
	if output, err := exec.Command("cp", "-R", whole, copied).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", whole, err, output)
	}
	r.program.path = filepath.Join(copied, filepath.Base(r.program.path))
	return nil
}

// open says whether everybody may enter a folder.
func open(folder string) bool {
	for folder != filepath.Dir(folder) {
		if info, err := os.Stat(folder); err != nil || info.Mode()&1 == 0 {
			return false
		}
		folder = filepath.Dir(folder)
	}
	return true
}

// start starts the program, in a folder that keeps what was in it.
func (r *process) start() error {
	output, err := os.OpenFile(filepath.Join(r.folder, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	command := exec.Command("/bin/sh", "-c", r.program.script)
	command.Dir = r.folder
	command.Env = append(os.Environ(), "PATH="+r.program.path+string(os.PathListSeparator)+os.Getenv("PATH"), "LC_ALL=C")
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = attributes(r.program.abort, r.as)

	r.mu.Lock()
	defer r.mu.Unlock()
	done, err := run(command)
	if err != nil {
		return err
	}
	r.command, r.done = command, done
	return nil
}

// run starts a command and waits for its end in a goroutine. The system ends a
// process with the thread that started it, not with the whole of its parent: hence
// a thread that does nothing else.
func run(command *exec.Cmd) (done chan struct{}, err error) {
	started := make(chan error)
	done = make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended stands in its log
		}
	}()
	return done, <-started
}

func (r *process) ended() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// signal reaches the processes that the server has started as well, where it is
// one that they would not hear of from the server.
func (r *process) signal(signal syscall.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		return os.ErrProcessDone
	default:
	}
	pid := r.command.Process.Pid
	switch signal {
	case syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGKILL:
		return signalTree(pid, signal)
	default:
		return signalOne(pid, signal)
	}
}

// signalTree signals a process and what it has started. After a SIGKILL all of them
// are gone: Postgres does not start where a child of the killed one still has its
// memory.
func signalTree(pid int, signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		if err := signalOne(pid, syscall.SIGSTOP); err != nil { // from now on it starts none
			return err
		}
	}
	below := children(pid)
	if err := signalOne(pid, signal); err != nil {
		return err
	}
	if signal == syscall.SIGSTOP {
		below = children(pid) // as above
	}
	for _, child := range below {
		if err := signalOne(child, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	if signal == syscall.SIGKILL {
		return awaitGone(below)
	}
	return nil
}

func signalOne(pid int, signal syscall.Signal) error {
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("%v to process %d: %w", signal, pid, err)
	}
	return nil
}

// awaitGone waits until killed processes, of which this one is not the parent, have
// let go of what they held.
func awaitGone(pids []int) error {
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for range 2000 {
		pids = slices.DeleteFunc(pids, isGone)
		if len(pids) == 0 {
			return nil
		}
		<-retry.C
	}
	return fmt.Errorf("processes %v are still there after a SIGKILL", pids)
}

// isGone says whether a process has ended, be it that nobody has asked how.
func isGone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func (r *process) log() string {
	text, err := os.ReadFile(filepath.Join(r.folder, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// remove deletes the folder. What a killed server has started may still be writing
// there for a moment.
func (r *process) remove() error {
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for range 100 {
		if os.RemoveAll(r.folder) == nil {
			return nil
		}
		<-retry.C
	}
	return os.RemoveAll(r.folder)
}

// pids reads numbers with white space between them.
func pids(text string) []int {
	var found []int
	for word := range strings.FieldsSeq(text) {
		if pid, err := strconv.Atoi(word); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
