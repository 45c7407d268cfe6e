package record

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed ruby
var programs embed.FS

// A Case is one case of a recording: an object of JSON, as it is spelled there.
type Case = json.RawMessage

// Recordings are made again by these programs, each behind the ones before it.
var Recordings = map[string][]string{
	"message.json":     {"values.rb", "message.rb"},
	"redis.json":       {"values.rb", "redis_rb.rb", "story.rb", "redis.rb"},
	"postgres.json":    {"values.rb", "story.rb", "postgres.rb"},
	"http.json":        {"values.rb", "redis_rb.rb", "connection.rb", "http.rb"},
	"cache.json":       {"values.rb", "redis_rb.rb", "describe.rb", "cache.rb"},
	"http_client.json": {"values.rb", "http_client.rb"},
}

// Load reads the cases of a recording.
func Load(path string) ([]Case, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the caller names a recording
	if err != nil {
		return nil, err
	}
	var recording struct {
		Cases []Case `json:"cases"`
	}
	if err := json.Unmarshal(text, &recording); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return recording.Cases, nil
}

// Record has Ruby make cases again: those of a file of Recordings, with arguments for
// its program. The environment says which gem that is (MESSAGE_BUS_LIB).
func Record(ctx context.Context, name string, cases []Case, env []string, args ...string) ([]Case, error) {
	text, err := program(Recordings[name])
	if err != nil {
		return nil, err
	}
	var input bytes.Buffer
	for _, c := range cases {
		if err := json.Compact(&input, c); err != nil {
			return nil, fmt.Errorf("record: %s: %w", name, err)
		}
		input.WriteByte('\n')
	}
	command := exec.CommandContext(ctx, "ruby", append([]string{"-W0", "--disable=error_highlight,did_you_mean", "-e", text, "--"}, args...)...) //nolint:gosec // a program of our own
	command.Env = append(append(os.Environ(), "LANG=C.UTF-8"), env...)
	command.Stdin = &input
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("record: %s: %w; it wrote: %s", name, err, complaints.String())
	}
	return read(output)
}

func program(parts []string) (string, error) {
	var b strings.Builder
	for _, part := range parts {
		text, err := fs.ReadFile(programs, "ruby/"+part)
		if err != nil {
			return "", fmt.Errorf("record: %w", err)
		}
		b.Write(text)
	}
	return b.String(), nil
}

// read takes a case off each line.
func read(output []byte) ([]Case, error) {
	var cases []Case
	for line := range bytes.Lines(output) {
		if !json.Valid(line) {
			return nil, fmt.Errorf("record: Ruby wrote %.200q, which is not JSON", line)
		}
		cases = append(cases, Case(bytes.TrimSpace(line)))
	}
	return cases, nil
}
