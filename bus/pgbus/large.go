package pgbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// endOfSubscription on the notification channel ends Ruby subscribers
// (message_bus 4.5.2, lib/message_bus/backends/base.rb).
const endOfSubscription = "$$UNSUBSCRIBE"

// notices are those that the connection received and Next has not opened yet,
// oldest first.
type notices struct{ list []*pgconn.Notification }

func (n *notices) put(_ *pgconn.PgConn, notice *pgconn.Notification) { n.list = append(n.list, notice) }

func (n *notices) len() int { return len(n.list) }

// drop forgets the first so many.
func (n *notices) drop(count int) { n.list = slices.Delete(n.list, 0, count) }

// messages are those that Next has opened and not returned yet, oldest first.
type messages struct {
	list []driver.Message
	head int // list[:head] were taken
}

func (m *messages) put(message driver.Message) { m.list = append(m.list, message) }

func (m *messages) take() (message driver.Message, ok bool) {
	if m.head == len(m.list) {
		return driver.Message{}, false
	}
	message, m.list[m.head] = m.list[m.head], driver.Message{}
	if m.head++; m.head == len(m.list) {
		m.list, m.head = m.list[:0], 0
	}
	return message, true
}

// open turns the notices that wait into messages; some are none. It ends after
// one whose message must be fetched: others may want a turn.
func (s *stream) open(ctx context.Context) error {
	for i, n := range s.waiting.list {
		switch {
		case n.Channel == s.backend.largeNotices:
			s.waiting.drop(i)
			m, err := s.fetch(ctx, n.Payload)
			if err != nil {
				return err
			}
			s.waiting.drop(1)
			s.opened.put(m)
			return nil
		case n.Channel == s.backend.notices && n.Payload != endOfSubscription:
			s.opened.put(decode(n.Payload))
		}
	}
	s.waiting.drop(s.waiting.len())
	return nil
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
