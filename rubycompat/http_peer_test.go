package rubycompat_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An httpAnswer is what one connection brought, and when.
type httpAnswer struct {
	opened     time.Time
	status     int // 0: none came
	header     http.Header
	chunked    bool
	chunks     []arrivedChunk
	body       string
	complete   time.Time
	terminated bool
	closed     bool // by the server
	cut        bool // by us
	problem    string
}

type arrivedChunk struct {
	payload string
	at      time.Time
}

// lingers is how long a connection is watched after its answer, to see whether the
// server closes it.
const lingers = 150 * time.Millisecond

// readAnswer reads what comes on a connection until it ends, or stays open after
// its answer.
func readAnswer(t *testing.T, conn net.Conn, a *httpAnswer, method string) {
	t.Helper()
	in := bufio.NewReader(conn)
	if err := a.read(in, method); err != nil {
		if !a.cut {
			a.problem = err.Error()
		}
		return
	}
	a.complete = time.Now()
	_ = conn.SetReadDeadline(time.Now().Add(lingers)) // of a connection that is there
	_, err := in.ReadByte()
	a.closed = errors.Is(err, io.EOF)
	if err == nil {
		a.problem = "there is something after the answer"
	}
}

func (a *httpAnswer) read(in *bufio.Reader, method string) error {
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	parts := strings.SplitN(line, " ", 3)
	if len(parts) < 2 {
		return errors.New("status line " + line)
	}
	if a.status, err = strconv.Atoi(parts[1]); err != nil {
		return err
	}
	a.header = make(http.Header)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ": ")
		a.header.Add(name, value)
	}
	a.chunked = a.header.Get("Transfer-Encoding") == "chunked"
	if a.chunked {
		return a.readChunks(in)
	}
	return a.readBody(in, method)
}

func (a *httpAnswer) readBody(in *bufio.Reader, method string) error {
	size, err := strconv.Atoi(a.header.Get("Content-Length"))
	if err != nil {
		return err
	}
	if method == http.MethodHead {
		return nil
	}
	b := make([]byte, size)
	_, err = io.ReadFull(in, b)
	a.body = string(b)
	return err
}

func (a *httpAnswer) readChunks(in *bufio.Reader) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(line), 16, 32)
		if err != nil {
			return err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return err
		}
		if size == 0 {
			a.terminated = true
			return nil
		}
		a.chunks = append(a.chunks, arrivedChunk{string(b[:size]), time.Now()})
	}
}

// parts returns the JSON arrays of an answer, and when each came.
func (a *httpAnswer) parts() (arrays []string, at []time.Time) {
	if !a.chunked {
		return []string{a.body}, []time.Time{a.complete}
	}
	for _, c := range a.chunks {
		array, ok := strings.CutSuffix(c.payload, "\r\n|\r\n")
		if !ok {
			array = "a chunk that is not one part: " + c.payload
		}
		arrays, at = append(arrays, array), append(at, c.at)
	}
	return arrays, at
}
