//go:build docker

// Package image_test builds the image of the folder packaging, which needs Docker: go test -tags docker.
package image_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/command"
)

// patience is how long a container may take until it is healthy.
const patience = time.Minute

// TestImage_IsHealthyWithoutRootAndWithoutAShell builds the image on an empty base, which is
// less than what the real one has, and waits until Docker calls a container of it healthy.
func TestImage_IsHealthyWithoutRootAndWithoutAShell(t *testing.T) {
	platform, folder := "linux/"+runtime.GOARCH, t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, platform), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(command.Binary(t), filepath.Join(folder, platform, "messagebus")); err != nil {
		t.Fatal(err)
	}
	const image = "messagebus-test"
	docker(t, "build", "--quiet", "--build-arg", "BASE=scratch", "--build-arg", "TARGETPLATFORM="+platform, "--tag", image, "--file", filepath.Join(command.Root(t), "packaging", "Dockerfile"), folder)
	defer docker(t, "rmi", "--force", image)
	container := docker(t, "run", "--detach", "--label", "messagebus.test", "--network", "host", "--health-interval", "1s", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", image,
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:7411")
	defer docker(t, "rm", "--force", "--volumes", container)
	for deadline := time.Now().Add(patience); ; {
		status := docker(t, "inspect", "--format", "{{.State.Status}} {{.State.Health.Status}} {{.Config.User}}", container)
		switch {
		case status == "running healthy 65532:65532":
			return
		case strings.HasPrefix(status, "exited"), time.Now().After(deadline):
			t.Fatalf("%s\n%s", status, docker(t, "logs", container))
		}
	}
}

func TestMain(m *testing.M) { leakcheck.Main(m, command.Remove) }

func docker(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return strings.TrimSpace(string(output))
}
