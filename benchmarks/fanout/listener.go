package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"
)

// A listener is one client of a crowd. Its goroutine uses it.
type listener struct {
	crowd                  *crowd
	address, name, channel string

	loses bool // nothing is said of what is missing, or comes twice

	conn net.Conn
	in   *bufio.Reader
	last int64     // message id
	took latencies // since the last time they were taken
}

func escaped(channel string) string { return url.QueryEscape(channel) }

// request asks for channels, which are a form: names with the last ids.
func request(client, form string, chunked bool) string {
	more := ""
	if !chunked {
		more = "Dont-Chunk: true\r\nConnection: close\r\n"
	}
	return fmt.Sprintf("POST /message-bus/%s/poll HTTP/1.1\r\nHost: localhost\r\n%s"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", client, more, len(form), form)
}

func (l *listener) ask(chunked bool) error {
	dialer := net.Dialer{}
	conn, err := dialer.DialContext(l.crowd.ctx, "tcp4", l.address)
	if err != nil {
		return err
	}
	if l.in == nil {
		l.in = bufio.NewReaderSize(conn, room(chunked))
	} else {
		l.in.Reset(conn)
	}
	l.conn = conn
	_, err = io.WriteString(conn, request(l.name, escaped(l.channel)+"="+strconv.FormatInt(l.last, 10), chunked))
	return err
}

// room is for the longest line: one message, or all that have come between two
// requests.
func room(chunked bool) int {
	if chunked {
		return 4 << 10
	}
	return 64 << 10
}

// hold returns when the request is held: the first part, which is empty, has come.
func (l *listener) hold() error {
	if err := l.ask(true); err != nil {
		return err
	}
	for {
		switch line, err := l.in.ReadSlice('\n'); {
		case err != nil:
			return fmt.Errorf("%s has no first part: %w", l.name, err)
		case bytes.HasPrefix(line, []byte("[]")):
			return nil
		}
	}
}

// run takes messages until the process ends.
func (l *listener) run(polls bool) {
	next := l.read
	if polls {
		next = l.poll
	}
	for {
		if err := next(); err != nil {
			l.crowd.fail(fmt.Errorf("%s: %w", l.name, err))
			return
		}
	}
}

// poll sends a request and takes its answer, at whose end the server closes the
// connection.
func (l *listener) poll() error {
	if err := l.ask(false); err != nil {
		return err
	}
	defer l.conn.Close()
	if status, err := l.in.ReadSlice('\n'); err != nil || !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("the answer is %q: %w", status, err)
	}
	for {
		if err := l.read(); err != nil {
			return ignore(err, io.EOF)
		}
	}
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// read takes one line.
func (l *listener) read() error {
	line, err := l.in.ReadSlice('\n')
	n := int64(0)
	if bytes.HasPrefix(line, []byte("[{")) {
		now := time.Now().UnixNano()
		deliveries(line, func(d delivery) {
			switch {
			case d.id <= l.last && l.loses:
				return
			case d.id != l.last+1 && !l.loses:
				l.crowd.fail(fmt.Errorf("%s has had message %d after %d", l.name, d.id, l.last))
			}
			l.crowd.missed.Add(d.id - l.last - 1)
			n += d.id - l.last
			l.last = d.id
			l.took = append(l.took, time.Duration(now-d.at))
		})
		l.crowd.count(n)
	}
	return err
}
