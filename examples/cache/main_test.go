package main

import (
	"bufio"
	"fmt"
	"io"
	"testing"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// A terminal is one process with what is typed into it and what it prints.
type terminal struct {
	t      *testing.T
	typed  *io.PipeWriter
	screen *bufio.Scanner
}

func start(t *testing.T, store driver.Backend) *terminal {
	t.Helper()
	b := bustest.On(t, store, nil)
	in, typed := io.Pipe()
	screen, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := share(t.Context(), b, in, out)
		out.Close()
		ended <- err
	}()
	t.Cleanup(func() {
		typed.Close() // at which it ends
		screen.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &terminal{t: t, typed: typed, screen: bufio.NewScanner(screen)}
}

func (c *terminal) enter(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.typed, line); err != nil {
		c.t.Fatal(err)
	}
}

func (c *terminal) shows(line string) {
	c.t.Helper()
	if !c.screen.Scan() {
		c.t.Fatalf("it has ended: %v", c.screen.Err())
	}
	if got := c.screen.Text(); got != line {
		c.t.Fatalf("it shows %q, want %q", got, line)
	}
}

func TestCache_WhatOneSetsTheOtherHas(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	first, second := start(t, store), start(t, store.Dial())
	second.enter("get ann") // so that it has begun to listen
	second.shows(" false")

	first.enter("set ann 44")
	first.shows("# set ann 44")
	second.shows("# set ann 44")
	second.enter("get ann")
	second.shows("44 true")

	second.enter("delete ann")
	second.shows("# delete ann ")
	first.shows("# delete ann ")
	first.enter("all")
	first.shows("map[]")
}
