package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// A bareLoop is the least that a program can do: it receives what go-redis
// receives, and writes it to each connection, one after the other. It has no
// backlog, no targets, no limits, and stands still when a client does.
type bareLoop struct {
	mu    sync.Mutex // guards below
	conns map[string][]net.Conn
}

func openBare(ctx context.Context, in place, turns *measure.Turns) (*service, error) {
	options, err := redis.ParseURL(in.URL)
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(options)
	feed := client.Subscribe(ctx, in.pubSub())
	if _, err := feed.Receive(ctx); err != nil {
		return nil, err
	}
	b := &bareLoop{conns: make(map[string][]net.Conn)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			m, err := feed.ReceiveMessage(ctx)
			if err != nil {
				return // it is closed
			}
			b.write(m.Payload)
		}
	}()
	return &service{b, turns, func() error {
		err := errors.Join(feed.Close(), client.Close())
		<-ended
		return err
	}}, nil
}

// write writes one message to all who listen to its channel.
func (b *bareLoop) write(encoded string) {
	channel, chunk := chunkOf(encoded)
	b.mu.Lock()
	conns := b.conns[channel]
	b.mu.Unlock()
	for _, conn := range conns {
		_, _ = conn.Write(chunk) // what does not arrive is missed by the crowd
	}
}

// chunkOf returns what a client gets of a message as Redis has it.
func chunkOf(encoded string) (channel string, chunk []byte) {
	gid, rest, _ := strings.Cut(encoded, "|")
	id, rest, _ := strings.Cut(rest, "|")
	channel, envelope, _ := strings.Cut(rest, "|")
	data := envelope[len(`{"data":`):strings.LastIndex(envelope, `,"user_ids"`)]
	part := `[{"global_id":` + gid + `,"message_id":` + id + `,"channel":"` + channel + `","data":` + data + `}]` + "\r\n|\r\n"
	return channel, []byte(strconv.FormatInt(int64(len(part)), 16) + "\r\n" + part + "\r\n")
}

const bareHead = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n" +
	"7\r\n[]\r\n|\r\n\r\n"

// ServeHTTP takes over the connection of a client of one channel.
func (b *bareLoop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the client has left
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for channel := range r.PostForm {
		b.conns[channel] = append(b.conns[channel], conn)
	}
	_, _ = conn.Write([]byte(bareHead)) // as in write
}
