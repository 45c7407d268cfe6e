package rubycompat

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

//go:embed ruby
var programs embed.FS

// ErrNoGem says that there is no Ruby here, or no gem message_bus.
var ErrNoGem = errors.New("no Ruby with the gem message_bus")

// Gem returns the version of the gem that peers run with: that of the folder which
// MESSAGE_BUS_LIB names (the gem's lib), or of an installed gem. Without either the
// error wraps ErrNoGem.
func Gem(ctx context.Context) (version string, err error) {
	command := exec.CommandContext(ctx, "ruby", "-e",
		`$:.unshift ENV["MESSAGE_BUS_LIB"] if ENV["MESSAGE_BUS_LIB"]; require "message_bus"; print MessageBus::VERSION`)
	var problem bytes.Buffer
	command.Stderr = &problem
	output, err := command.Output()
	if err != nil {
		first, _, _ := bytes.Cut(problem.Bytes(), []byte("\n"))
		return "", fmt.Errorf("%w: %w: %s", ErrNoGem, err, first)
	}
	return string(output), nil
}

// A Peer is a Ruby process that runs one of the programs in the folder ruby and
// does what it is told. Its methods are safe for concurrent use. Who started it
// closes it; it also ends with this process.
type Peer struct {
	input  io.WriteCloser
	stderr *tail
	kill   func()
	ended  chan struct{} // closed when the process and its reader have ended
	exit   error         // how the process ended; after ended

	mu       sync.Mutex // guards below
	requests int
	waiting  map[int]chan reply
	messages map[string][]json.RawMessage // by subscriber
	news     chan struct{}                // replaced whenever there is a message
}

// A RubyError is what a Ruby method raised.
type RubyError struct {
	Class   string `json:"class"`
	Message string `json:"message"`
}

func (e *RubyError) Error() string { return e.Class + ": " + e.Message }

// line is what a program says.
type line struct {
	Ready bool `json:"ready"`
	ID    int  `json:"id"`
	reply
	Subscriber string          `json:"subscriber"`
	Message    json.RawMessage `json:"message"`
}

type reply struct {
	Returns json.RawMessage `json:"returns"`
	Error   *RubyError      `json:"error"`
}

// startTimeout is how long a program may take to be ready, and to end.
const startTimeout = 2 * time.Minute

// Start runs a program of the folder ruby with a configuration of the gem's bus, and
// returns when it is ready. ctx bounds the start only.
func Start(ctx context.Context, program string, configuration any) (*Peer, error) {
	argument, err := json.Marshal(configuration)
	if err != nil {
		return nil, fmt.Errorf("rubycompat: start %s: %w", program, err)
	}
	text, err := source(program)
	if err != nil {
		return nil, fmt.Errorf("rubycompat: start %s: %w", program, err)
	}
	p := &Peer{
		stderr: &tail{}, ended: make(chan struct{}),
		waiting: make(map[int]chan reply), messages: make(map[string][]json.RawMessage), news: make(chan struct{}),
	}
	command := exec.Command("ruby", "-W0", "-e", text, string(argument)) //nolint:gosec,noctx // a program of our own, which outlives ctx
	command.Env = append(os.Environ(), "LANG=C.UTF-8")
	command.Stderr = p.stderr
	command.SysProcAttr = endsWithParent()
	if err := p.run(ctx, command); err != nil {
		return nil, fmt.Errorf("rubycompat: start %s: %w", program, err)
	}
	return p, nil
}

// source is a program behind what all of them share.
func source(program string) (string, error) {
	commands, err := fs.ReadFile(programs, "ruby/commands.rb")
	if err != nil {
		return "", err
	}
	text, err := fs.ReadFile(programs, "ruby/"+program)
	return string(commands) + string(text), err
}

func (p *Peer) run(ctx context.Context, command *exec.Cmd) error {
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if p.input, err = command.StdinPipe(); err != nil {
		return err
	}
	p.kill = func() { _ = command.Process.Kill() } // it may have ended
	started, ready := make(chan error, 1), make(chan struct{})
	go func() {
		// A process ends with the thread that started it, hence one for it alone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.read(output, ready)
		p.exit = command.Wait()
	}()
	if err := <-started; err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-ready:
		return nil
	case <-p.ended:
		return p.gone()
	case <-ctx.Done():
		p.kill()
		<-p.ended
		return fmt.Errorf("not ready: %w; %s", ctx.Err(), p.stderr)
	}
}

// gone says how the process ended.
func (p *Peer) gone() error {
	<-p.ended
	return fmt.Errorf("the Ruby process has ended: %v; %s", p.exit, p.stderr) //nolint:errorlint // nil is possible
}

// read hands on what the program says, until it ends.
func (p *Peer) read(output io.Reader, ready chan struct{}) {
	reader := bufio.NewReader(output)
	for {
		text, err := reader.ReadBytes('\n')
		if err != nil {
			return
		}
		var said line
		if err := json.Unmarshal(text, &said); err != nil {
			fmt.Fprintf(p.stderr, "not understood: %s: %v\n", text, err)
			continue
		}
		if said.Ready {
			close(ready)
			continue
		}
		p.take(said)
	}
}

func (p *Peer) take(said line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if said.Message != nil {
		p.messages[said.Subscriber] = append(p.messages[said.Subscriber], said.Message)
		close(p.news)
		p.news = make(chan struct{})
		return
	}
	if answer, ok := p.waiting[said.ID]; ok {
		answer <- said.reply
		delete(p.waiting, said.ID)
	}
}

// Call has the program do something, with named arguments and others, and
// decodes what it returns into answer, which may be nil. What Ruby raised is a
// *RubyError; any other error means that the process is of no more use.
func (p *Peer) Call(ctx context.Context, answer any, op string, named map[string]any, args ...any) error {
	if args == nil {
		args = []any{}
	}
	replies := make(chan reply, 1)
	if err := p.send(replies, map[string]any{"op": op, "args": args, "named": named}); err != nil {
		return fmt.Errorf("rubycompat: %s: %w", op, err)
	}
	select {
	case r := <-replies:
		switch {
		case r.Error != nil:
			return fmt.Errorf("rubycompat: %s: %w", op, r.Error)
		case answer == nil:
			return nil
		default:
			return json.Unmarshal(r.Returns, answer)
		}
	case <-p.ended:
		return fmt.Errorf("rubycompat: %s: %w", op, p.gone())
	case <-ctx.Done():
		return fmt.Errorf("rubycompat: %s: %w; %s", op, ctx.Err(), p.stderr)
	}
}

func (p *Peer) send(replies chan reply, request map[string]any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	request["id"] = p.requests
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	p.waiting[p.requests] = replies
	_, err = p.input.Write(append(text, '\n'))
	return err
}

// Messages waits until a subscriber has got so many messages, and returns all that
// it has got since the last call.
func (p *Peer) Messages(ctx context.Context, subscriber string, count int) ([]json.RawMessage, error) {
	for {
		p.mu.Lock()
		got, news := p.messages[subscriber], p.news
		if len(got) >= count {
			delete(p.messages, subscriber)
		}
		p.mu.Unlock()
		if len(got) >= count {
			return got, nil
		}
		select {
		case <-news:
		case <-p.ended:
			return nil, fmt.Errorf("rubycompat: subscriber %s: %w", subscriber, p.gone())
		case <-ctx.Done():
			return nil, fmt.Errorf("rubycompat: subscriber %s has %d of %d messages: %w; %s",
				subscriber, len(got), count, ctx.Err(), p.stderr)
		}
	}
}

// Close ends the program by ending its input, and waits for it; a program that does
// not end in time is killed, which is an error.
func (p *Peer) Close() error {
	if err := p.input.Close(); err != nil {
		p.kill()
	}
	select {
	case <-p.ended:
	case <-time.After(startTimeout):
		p.kill()
		return fmt.Errorf("rubycompat: close: it was killed after %v: %w", startTimeout, p.gone())
	}
	if p.exit != nil {
		return fmt.Errorf("rubycompat: close: %w", p.gone())
	}
	return nil
}

// tail keeps the end of what a program wrote to its standard error.
type tail struct {
	mu   sync.Mutex // guards below
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 4000
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if len(t.text) > most {
		t.text = append([]byte("…"), t.text[len(t.text)-most:]...)
	}
	return len(b), nil
}

// String returns it, for an error.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.text) == 0 {
		return "it wrote no error"
	}
	return "it wrote:\n" + string(t.text)
}
