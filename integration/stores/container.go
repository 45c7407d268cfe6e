package stores

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

const (
	// mounted is where a container finds its program's files, workplace the folder
	// that the program runs in and may write to.
	mounted   = "/tmp/files"
	workplace = "/tmp/server"
)

// A containerRunner runs a program in a container that shares the network of this
// machine: addresses are the same inside and outside, the ports of several servers
// that talk to each other included, and stay the same over a restart.
type containerRunner struct {
	docker *testcontainers.DockerProvider
	box    testcontainers.Container

	mu   sync.Mutex // guards below
	done chan struct{}
	stop context.CancelFunc // of the goroutine that closes done
}

// dockerPatience bounds one request to Docker; the first one may pull an image.
const dockerPatience = 5 * time.Minute

func newContainer(p program) (*containerRunner, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dockerPatience)
	defer cancel()
	docker, err := dockerProvider()
	if err != nil {
		return nil, err
	}
	box, err := docker.CreateContainer(ctx, testcontainers.ContainerRequest{
		Image:      p.image,
		Labels:     map[string]string{label: "true"},
		Entrypoint: []string{"/bin/sh", "-c", prepare(p) + p.script},
		Files:      containerFiles(p.files),
		ConfigModifier: func(config *container.Config) {
			if p.notRoot {
				config.User = p.name // exists in every image of that server
			}
			config.Cmd = nil
		},
		HostConfigModifier: func(config *container.HostConfig) { config.NetworkMode = network },
	})
	if err != nil {
		docker.Close()
		return nil, fmt.Errorf("make a container of %s: %w (integration/images/build.sh makes the images where none can be pulled; MESSAGEBUS_TEST_SERVERS=local does without Docker)", p.image, err)
	}
	return &containerRunner{docker: docker, box: box}, nil
}

// network is the one of this machine.
const network = "host"

// label marks containers, so that those which a killed test has left can be found.
const label = "messagebus.test"

// dockerProvider connects to Docker. Left alone, testcontainers would make a network
// where Docker has no bridge.
func dockerProvider() (*testcontainers.DockerProvider, error) {
	quiet := testcontainers.Generic2DockerOptions(testcontainers.WithLogger(silent{}))
	return testcontainers.NewDockerProvider(append(quiet, testcontainers.WithDefaultBridgeNetwork(network))...)
}

// silent is a log for testcontainers, which tells of every step.
type silent struct{}

// Printf drops a line.
func (silent) Printf(string, ...any) {}

// prepare is what a script needs in front to find its folder as a process would:
// there, with files that belong to the user it runs as.
func prepare(p program) string {
	lines := []string{"mkdir -p " + workplace, "cd " + workplace}
	for name := range p.files {
		file := quote(name)
		lines = append(lines, fmt.Sprintf("[ -e %s ] || { cp %s/%s . && chmod 600 %s; }", file, mounted, file, file))
	}
	return "set -e\n" + strings.Join(lines, "\n") + "\nset +e\n"
}

func containerFiles(files map[string]string) []testcontainers.ContainerFile {
	var all []testcontainers.ContainerFile
	for name, text := range files {
		all = append(all, testcontainers.ContainerFile{
			Reader:            strings.NewReader(text),
			ContainerFilePath: path.Join(mounted, name),
			FileMode:          0o644,
		})
	}
	return all
}

// start starts the container, and a goroutine that waits for its end. Docker is
// asked for the end first, so that a quick one is not missed.
func (r *containerRunner) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting, stop := context.WithCancel(context.Background())
	end := r.docker.Client().ContainerWait(waiting, r.box.GetContainerID(), client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	ctx, cancel := context.WithTimeout(waiting, dockerPatience)
	defer cancel()
	if err := r.box.Start(ctx); err != nil {
		stop()
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-end.Result:
		case <-end.Error:
		}
	}()
	if r.stop != nil {
		r.stop() // the end it waited for has come
	}
	r.done, r.stop = done, stop
	return nil
}

func (r *containerRunner) ended() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

func (r *containerRunner) signal(signal syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	id := r.box.GetContainerID()
	var err error
	switch signal {
	case syscall.SIGSTOP:
		_, err = r.docker.Client().ContainerPause(ctx, id, client.ContainerPauseOptions{})
	case syscall.SIGCONT:
		_, err = r.docker.Client().ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	default:
		_, err = r.docker.Client().ContainerKill(ctx, id, client.ContainerKillOptions{Signal: fmt.Sprintf("%d", signal)})
	}
	return err
}

func (r *containerRunner) log() string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := r.box.Logs(ctx)
	if err != nil {
		return err.Error()
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (r *containerRunner) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer r.docker.Close()
	err := r.box.Terminate(ctx, testcontainers.StopTimeout(0))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		r.stop()
		<-r.done
	}
	return err
}
