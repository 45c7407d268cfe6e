package measure

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// A Process is another program, which does what it is told a line at a time, and
// ends with its input. One goroutine may use it.
type Process struct {
	Input  io.Writer
	output *bufio.Scanner
	pid    int
}

// Start returns when the program has said "ready". It ends with tb.
func Start(tb testing.TB, command *exec.Cmd) (*Process, error) {
	tb.Helper()
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	tb.Cleanup(func() {
		_ = input.Close() // at which it ends
		if err := command.Wait(); err != nil {
			tb.Errorf("%s: %v", command.Path, err)
		}
	})
	p := &Process{Input: input, output: bufio.NewScanner(output), pid: command.Process.Pid}
	if said, err := p.Read(); err != nil || said != "ready" {
		return nil, fmt.Errorf("%s is not ready, but said %q: %w", command.Path, said, err)
	}
	return p, nil
}

// Read waits for the next line.
func (p *Process) Read() (string, error) {
	if !p.output.Scan() {
		if err := p.output.Err(); err != nil {
			return "", err
		}
		return "", io.ErrUnexpectedEOF
	}
	return p.output.Text(), nil
}

// ReadNumber waits for the next line, which must be a number.
func (p *Process) ReadNumber() (float64, error) {
	line, err := p.Read()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(line, 64)
}

// Ask sends a question as a line of JSON, and stores the line that comes back in
// answer, unless that is nil. The program answers with Serve.
func (p *Process) Ask(question, answer any) error {
	if err := json.NewEncoder(p.Input).Encode(question); err != nil {
		return err
	}
	line, err := p.Read()
	if err != nil {
		return fmt.Errorf("%v: %w", question, err)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(line), answer); err != nil {
		return fmt.Errorf("%v was answered with %q: %w", question, line, err)
	}
	return nil
}

// Serve says "ready" and answers questions until there are no more.
func Serve[Q any](in io.Reader, out io.Writer, answer func(Q) (any, error)) error {
	fmt.Fprintln(out, "ready")
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q Q
		if err := questions.Decode(&q); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		a, err := answer(q)
		if err != nil {
			return err
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}
