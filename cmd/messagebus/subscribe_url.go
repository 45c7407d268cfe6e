package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/messagebus-go/messagebus/httpclient"
)

// far is a subscription over HTTP, as the clients of a server have it.
type far struct {
	url       string
	positions string
	header    http.Header
	events    bool
}

func (f *far) addFlags(flags *pflag.FlagSet) {
	addString(flags, &f.url, "url", "URL", "public address of a Go or a Ruby server, instead of a store or an admin listener")
	addString(flags, &f.positions, "positions", "FILE", "with --url: go on from the positions in FILE, which is kept up to date")
	addHeaders(flags, &f.header, "request-header", "with --url: header of every request")
	addSwitch(flags, &f.events, "events", "with --url: by server-sent events")
}

// check reports whether the subscription is one over HTTP.
func (f *far) check(flags *pflag.FlagSet) (bool, error) {
	if f.url == "" {
		for _, name := range []string{"positions", "request-header", "events"} {
			if typed(flags, name) {
				return false, usagef("--%s goes with --url", name)
			}
		}
		return false, nil
	}
	for _, name := range []string{"store", "server", "key", "site"} {
		if typed(flags, name) {
			return false, usagef("--url and --%s exclude each other: at the public address the server knows who asks", name)
		}
	}
	return true, nil
}

// startOver returns from where a channel without a stored position starts.
func startOver(s start) httpclient.Position {
	if k, found := strings.CutPrefix(s.text, "last:"); found {
		n, _ := strconv.Atoi(k) // parseStart has read it
		return httpclient.Last(n)
	}
	if id, err := parseID(s.text); err == nil {
		return httpclient.After(id)
	}
	return httpclient.Latest()
}

// subscribe prints the messages until ctx is done, or the server refuses them.
func (f *far) subscribe(ctx context.Context, q subscribeQuery, out *lines, warnings io.Writer) error {
	file := &positionsFile{path: f.positions}
	stored, err := file.load()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := &printer{out: out, warnings: warnings, stop: stop}
	client, err := httpclient.New(f.url, &httpclient.Options{
		Positions: stored, OnError: p.fail, Events: f.events,
		Header: func(context.Context) (http.Header, error) { return f.header, nil },
	})
	if err != nil {
		return asUsage(err)
	}
	p.client = client
	err = f.run(ctx, q, p, file)
	return errors.Join(err, client.Close(), p.save(file))
}

func (f *far) run(ctx context.Context, q subscribeQuery, p *printer, file *positionsFile) error {
	for _, channel := range q.channels {
		if _, err := p.client.Subscribe(channel, startOver(q.from), p.print); err != nil {
			return asUsage(err)
		}
	}
	// A message that was printed, and whose position was not stored when the program was
	// killed, is printed again.
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := p.save(file); err != nil {
				return err
			}
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil // it was asked to end
		}
	}
}

const saveEvery = 200 * time.Millisecond

// A printer prints what a client gets.
type printer struct {
	client   *httpclient.Client
	out      *lines
	warnings io.Writer
	stop     context.CancelCauseFunc
	warned   string
	failed   atomic.Bool // something was not printed: what it was must not count as done
}

func (p *printer) print(m httpclient.Message) {
	p.write(messageLine{Channel: m.Channel, ID: m.ID, GlobalID: m.GlobalID, Data: m.Data})
}

// write ends the subscription when there is nobody to write to.
func (p *printer) write(line any) {
	if err := p.out.write(line); err != nil {
		p.failed.Store(true)
		p.stop(err)
		p.client.Stop()
	}
}

// save stores how far everything was printed.
func (p *printer) save(file *positionsFile) error {
	at := p.client.Positions()
	if p.failed.Load() {
		return nil
	}
	return file.save(at)
}

// fail prints gaps as lines, and what else goes wrong once, as a warning. When the client has
// stopped because of it, it is the end.
func (p *printer) fail(err error) {
	if gapped, ok := errors.AsType[*httpclient.GapError](err); ok {
		p.write(farGapLine{farGap{gapped.Channel, gapped.After, gapped.Next, gapped.Reason}})
		return
	}
	if p.client.Status() == httpclient.Stopped {
		p.stop(err)
		return
	}
	if text := err.Error(); text != p.warned {
		p.warned = text
		fmt.Fprintf(p.warnings, "messagebus: %s\n", oneLine(text))
	}
}

// farGapLine is a gapLine of a client.
type farGapLine struct {
	Gap farGap `json:"gap"`
}

type farGap struct {
	Channel string               `json:"channel"`
	After   int64                `json:"after"`
	Next    int64                `json:"next"`
	Reason  httpclient.GapReason `json:"reason"`
}

// A positionsFile keeps positions over runs; without a path it keeps nothing.
type positionsFile struct {
	path   string
	stored map[string]httpclient.Position // by an earlier run, or for channels that are not subscribed now
	last   string
}

func (f *positionsFile) load() (map[string]httpclient.Position, error) {
	f.stored = map[string]httpclient.Position{}
	if f.path == "" {
		return f.stored, nil
	}
	text, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.stored, f.save(nil) // or it would be found out at the end that it cannot be written
	case err != nil:
		return nil, fmt.Errorf("--positions: %w", err)
	}
	if err := json.Unmarshal(text, &f.stored); err != nil {
		return nil, usagef("--positions: %s holds no positions: %w", f.path, err)
	}
	return f.stored, nil
}

// save replaces the file in one step, so that it is never half of one.
func (f *positionsFile) save(positions map[string]httpclient.Position) error {
	if f.path == "" {
		return nil
	}
	all := make(map[string]httpclient.Position, len(f.stored)+len(positions))
	maps.Copy(all, f.stored)
	maps.Copy(all, positions)
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil || string(text) == f.last {
		return err
	}
	if err := replaceFile(f.path, append(text, '\n')); err != nil {
		return fmt.Errorf("--positions: %w", err)
	}
	f.last = string(text)
	return nil
}

func replaceFile(path string, text []byte) error {
	next, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return nil
}
