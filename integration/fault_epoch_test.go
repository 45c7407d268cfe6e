package integration_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// A store that nobody has listened to has no epoch yet. What is wiped before a reader
// knows one must be told all the same.

// A newStore is an empty store without an epoch.
type newStore struct {
	dial func() driver.Backend // a peer
	wipe func()                // takes all the data
}

// inNewStores runs a test for each kind of store and each way to wipe it.
func inNewStores(t *testing.T, test func(*testing.T, newStore)) {
	t.Helper()
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		database := stores.RedisShared(t)
		client, options := database.Client(t), &redisbus.Options{PubSubDB: strconv.Itoa(database.PubSubDB)}
		test(t, newStore{
			dial: func() driver.Backend { return redisPeer(t, client, options) },
			wipe: func() {
				if err := client.FlushDB(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
	for name, sql := range map[string]string{
		"Postgres, truncated": "TRUNCATE message_bus RESTART IDENTITY",
		"Postgres, dropped":   "DROP TABLE message_bus",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := stores.PostgresShared(t)
			test(t, newStore{
				dial: func() driver.Backend { return postgresPeer(t, database, nil) },
				wipe: func() { execPostgres(t, database, sql) },
			})
		})
	}
}

// A slowFeed answers reads and lets nobody listen until it is opened, as a server does
// that is slow to take connections.
type slowFeed struct {
	driver.Backend

	open chan struct{}
}

func (s *slowFeed) State(ctx context.Context) (driver.State, error) {
	if err := s.wait(ctx); err != nil {
		return driver.State{}, err
	}
	return s.Backend.State(ctx)
}

func (s *slowFeed) Listen(ctx context.Context) (driver.Stream, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Backend.Listen(ctx)
}

func (s *slowFeed) wait(ctx context.Context) error {
	select {
	case <-s.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publishAll publishes so many messages, without listening.
func publishAll(t *testing.T, b *bus.Bus, data string, n int) {
	t.Helper()
	for i := range n {
		if _, err := b.Publish(t.Context(), "/a", fmt.Sprint(data, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// upTo returns what a subscription hands out, up to a message: its data, and the
// reasons of gaps.
func upTo(t *testing.T, sub *bus.Subscription, last string) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), faultPatience)
	defer cancel()
	for {
		m, err := sub.Next(ctx)
		gap, told := errors.AsType[*bus.GapError](err)
		switch {
		case told:
			all = append(all, string(gap.Reason))
		case err != nil:
			t.Fatalf("waited for %s: %v; before it came %v", last, err, all)
		default:
			var data string
			if err := m.Decode(&data); err != nil {
				t.Fatal(err)
			}
			if all = append(all, data); data == last {
				return all
			}
		}
	}
}

// wantHanded checks what a subscription hands out, up to a message. It may be told of
// one reset twice.
func wantHanded(t *testing.T, sub *bus.Subscription, want ...string) {
	t.Helper()
	if got := slices.Compact(upTo(t, sub, want[len(want)-1])); !slices.Equal(got, want) {
		t.Errorf("the reader was handed %v, want %v", got, want)
	}
}

func subscribeFrom(t *testing.T, b *bus.Bus, from bus.Position) *bus.Subscription {
	t.Helper()
	sub, err := b.Subscribe(t.Context(), "/a", from)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func TestFaultEpoch_AWipeBeforeTheFeedIsOpenIsTold(t *testing.T) {
	t.Parallel()
	inNewStores(t, func(t *testing.T, s newStore) {
		slow := &slowFeed{s.dial(), make(chan struct{})}
		sub := subscribeFrom(t, faultBus(t, slow), bus.Latest())
		publisher := faultBus(t, s.dial())
		publishAll(t, publisher, "lost", 3)
		s.wipe()
		publishAll(t, publisher, "new", 5)
		close(slow.open)
		wantHanded(t, sub, "reset", "new0", "new1", "new2", "new3", "new4")
	})
}

func TestFaultEpoch_ANewStoreHasOneBeforeAnythingIsPublished(t *testing.T) {
	t.Parallel()
	inNewStores(t, func(t *testing.T, s newStore) {
		reader, publisher := faultBus(t, s.dial()), faultBus(t, s.dial())
		sub := subscribeFrom(t, reader, bus.After(0))
		publishAll(t, publisher, "old", 3)
		wantHanded(t, sub, "old0", "old1", "old2")
		again := subscribeFrom(t, reader, bus.Latest())
		s.wipe()
		publishAll(t, publisher, "new", 2)
		wantHanded(t, sub, "reset", "new0", "new1")
		wantHanded(t, again, "reset", "new0", "new1")
	})
}

// Where the table cannot be created one reads and listens all the same.
func TestFaultEpoch_WhoMayNotCreateTheTableHearsWhatIsPublished(t *testing.T) {
	t.Parallel()
	server := stores.Postgres(t)
	for name, c := range map[string]struct{ sql, as string }{
		"a role": {`CREATE ROLE reader LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
			ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader;
			ALTER DEFAULT PRIVILEGES GRANT SELECT ON SEQUENCES TO reader`, "reader@"},
		"a read-only database": {
			`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`,
			"postgres@",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := server.NewDatabase(t)
			execPostgres(t, url, c.sql)
			reader := faultBus(t, postgresPeer(t, strings.Replace(url, "postgres@", c.as, 1), nil))
			publisher := faultBus(t, postgresPeer(t, url+"&default_transaction_read_only=off", nil))
			sub := subscribeFrom(t, reader, bus.After(0))
			eventually(t, faultPatience, "the feed to be live without a table", func() bool { return reader.Health().Live })
			publishAll(t, publisher, "a", 3)
			got := upTo(t, sub, "a2")
			eventually(t, faultPatience, "the reader to know the epoch", func() bool {
				return sameEpoch(t, reader, publisher)
			})
			publishAll(t, publisher, "b", 1)
			got = append(got, upTo(t, sub, "b0")...)
			// That there was nothing before the epoch cannot be known.
			got = slices.DeleteFunc(got, func(s string) bool { return s == string(bus.GapPossible) || s == string(bus.GapReset) })
			if want := []string{"a0", "a1", "a2", "b0"}; !slices.Equal(got, want) {
				t.Errorf("the reader was handed %v, want %v", got, want)
			}
		})
	}
}

// sameEpoch reports whether two peers see the same life of the store.
func sameEpoch(t *testing.T, one, other *bus.Bus) bool {
	t.Helper()
	var epochs []string
	for _, b := range []*bus.Bus{one, other} {
		pages, err := b.Read(t.Context(), map[string]bus.Position{"/a": bus.Latest()})
		if err != nil {
			t.Fatal(err)
		}
		epochs = append(epochs, pages["/a"].Position.Epoch())
	}
	return epochs[0] == epochs[1]
}
