package rubycompat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
)

// publisherVariable makes this program a Go process that publishes: its value is a
// publisherOrder.
const publisherVariable = "MESSAGEBUS_TEST_PUBLISHER"

type publisherOrder struct {
	Postgres string `json:"postgres"` // URL; empty: on Redis
	Addr     string `json:"addr"`
	Username string `json:"username"`
	Password string `json:"password"`
	DB       int    `json:"db"`
	Label    string `json:"label"`
}

// goPublisher starts such a process. It publishes when begin is called, which returns
// when the process has ended.
func (m meeting) goPublisher(t *testing.T, label string) (begin func() error) {
	t.Helper()
	order := publisherOrder{Postgres: m.url, Label: label}
	if !m.postgres {
		order.Addr, order.DB = m.redis.Addr, m.redis.DB
		order.Username, order.Password = m.redis.Username, m.redis.Password
	}
	command := exec.CommandContext(t.Context(), made(os.Executable())(t))
	command.Env = append(os.Environ(), publisherVariable+"="+string(made(json.Marshal(order))(t)))
	start := made(command.StdinPipe())(t)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	begin = sync.OnceValue(func() error {
		start.Close()
		if err := command.Wait(); err != nil {
			return fmt.Errorf("the Go process %s: %w: %s", label, err, output.String())
		}
		return nil
	})
	t.Cleanup(func() { _ = begin() }) // who wants to know has called it
	return begin
}

// publisherMain is the main function of such a process.
func publisherMain(order string) {
	var o publisherOrder
	err := json.Unmarshal([]byte(order), &o)
	if err == nil {
		err = o.publish(context.Background(), os.Stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (o publisherOrder) publish(ctx context.Context, begin io.Reader) error {
	store, err := o.open(ctx)
	if err != nil {
		return err
	}
	b, err := bus.New(store, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	if _, err := b.LastID(ctx, "/"); err != nil { // connects
		return err
	}
	if _, err := io.Copy(io.Discard, begin); err != nil {
		return err
	}
	for n := range eachPublishes {
		if _, err := b.Publish(ctx, sharedChannels[n%len(sharedChannels)], fmt.Sprintf("%s: %d", o.Label, n)); err != nil {
			return err
		}
	}
	return nil
}

// open opens what the end of the process closes.
func (o publisherOrder) open(ctx context.Context) (driver.Backend, error) {
	if o.Postgres == "" {
		client := redis.NewClient(&redis.Options{Addr: o.Addr, Username: o.Username, Password: o.Password, DB: o.DB})
		return redisbus.New(client, &redisbus.Options{PubSubDB: fmt.Sprint(o.DB)})
	}
	pool, err := pgxpool.New(ctx, o.Postgres)
	if err != nil {
		return nil, err
	}
	return pgbus.New(pool, nil)
}
