package pgbus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// endOfSubscription on the notification channel ends Ruby subscribers
// (message_bus 4.5.2, lib/message_bus/backends/base.rb).
const endOfSubscription = "$$UNSUBSCRIBE"

// notices are those that the connection received and Next has not returned yet,
// oldest first.
type notices struct{ list []*pgconn.Notification }

func (n *notices) put(_ *pgconn.PgConn, notice *pgconn.Notification) { n.list = append(n.list, notice) }

func (n *notices) first() *pgconn.Notification {
	if len(n.list) == 0 {
		return nil
	}
	return n.list[0]
}

func (n *notices) len() int { return len(n.list) }

func (n *notices) drop() {
	n.list[0] = nil
	n.list = n.list[1:]
}

// open turns a notice into a message; some are none.
func (s *stream) open(ctx context.Context, n *pgconn.Notification) (m driver.Message, ok bool, err error) {
	switch {
	case n.Channel == s.backend.largeNotices:
		m, err = s.fetch(ctx, n.Payload)
		return m, err == nil, err
	case n.Channel != s.backend.notices || n.Payload == endOfSubscription:
		return driver.Message{}, false, nil
	}
	return decode(n.Payload), true, nil
}

// decode reads an encoded message. What is none, as that of a Ruby peer whose
// connection was cut, has the global id 0.
func decode(payload string) driver.Message {
	m, err := driver.Decode([]byte(payload))
	if err != nil || m.ID != m.GlobalID || m.ID < 0 {
		return driver.Message{Channel: m.Channel, Data: []byte(payload)}
	}
	return m
}

// fetch reads the message whose id was announced because it is too long for a
// notice. It may have been trimmed since, or be foreign: then it is a message
// with the global id 0. The end of ctx breaks the connection.
func (s *stream) fetch(ctx context.Context, payload string) (driver.Message, error) {
	id, err := strconv.ParseInt(payload, 10, 64)
	if err != nil || id <= 0 {
		return driver.Message{Data: []byte(payload)}, nil //nolint:nilerr // the global id 0 says so
	}
	m := driver.Message{GlobalID: id, ID: id}
	err = s.use(ctx, func(ctx context.Context) error {
		return s.conn.QueryRow(ctx, "SELECT channel, value FROM message_bus WHERE id = $1", id).Scan(&m.Channel, &m.Data)
	})
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, pgx.ErrNoRows), isCode(err, undefinedTable):
		return driver.Message{Data: []byte(payload)}, nil
	}
	reason := s.end(fmt.Errorf("read message %d: %w", id, err))
	if ctx.Err() != nil {
		return driver.Message{}, ctx.Err()
	}
	return driver.Message{}, reason
}
