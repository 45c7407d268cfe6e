package stores

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A program is what a server runs, be it a process of this machine or a container.
type program struct {
	name    string            // of the product, in lower case; in an image, of its user
	script  string            // for sh, in a folder of its own; ends with an exec of the server
	files   map[string]string // name and text, in that folder
	quit    syscall.Signal    // asks for a good end
	abort   syscall.Signal    // ends it at once and with all that belongs to it
	binary  string            // what has to be on this machine for a process
	path    string            // the folder of binary, where PATH does not have it
	image   string            // of a container
	notRoot bool              // refuses to run as root
}

// A runner runs a program. It can be run again when it has ended, and finds its
// folder as it left it.
type runner interface {
	start() error // begins; whether the server is ready must be asked of it
	signal(signal syscall.Signal) error
	ended() <-chan struct{} // of the last start; nil before the first
	log() string
	remove() error // after it has ended
}

// serversVariable says where servers must come from.
const serversVariable = "MESSAGEBUS_TEST_SERVERS"

// newRunner chooses where a program runs: Docker before this machine.
func newRunner(p program) (runner, error) {
	where := os.Getenv(serversVariable)
	if p.image == "" && where != "" {
		where = "local"
	}
	switch where {
	case "docker":
		if err := dockerAnswers(); err != nil {
			return nil, fmt.Errorf("%s=docker, but Docker does not answer: %w", serversVariable, err)
		}
		return newContainer(p)
	case "local":
		return newLocal(p)
	case "":
		if p.image != "" && dockerAnswers() == nil {
			return newContainer(p)
		}
		return newLocal(p)
	default:
		return nil, fmt.Errorf("%s is %q; it takes docker and local", serversVariable, where)
	}
}

func newLocal(p program) (runner, error) {
	file := filepath.Join(p.path, p.binary) // a bare name is looked for in PATH
	if _, err := exec.LookPath(file); err != nil {
		return nil, fmt.Errorf("no server to run: %w; Docker is not to be used or does not answer; run scripts/setup.sh servers, or start Docker", err)
	}
	return newProcess(p)
}

// dockerAnswers asks for Docker once.
var dockerAnswers = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	docker, err := dockerProvider()
	if err != nil {
		return err
	}
	defer docker.Close()
	return docker.Health(ctx)
})

// image is the container image that a variable names, to test another version.
func image(variable, otherwise string) string {
	if name := os.Getenv(variable); name != "" {
		return name
	}
	return otherwise
}
