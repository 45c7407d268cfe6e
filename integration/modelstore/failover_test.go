package modelstore_test

import (
	"context"
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/integration/modelstore"
)

var roomy = driver.Limits{MaxSize: 1000, MaxGlobalSize: 1000, MaxAge: 1 << 40, ClearEvery: 1}

// publish publishes so many messages on a channel, and returns where the last one stands.
func publish(t *testing.T, peer *modelstore.Peer, channel string, n int) (at driver.Position) {
	t.Helper()
	for range n {
		var err error
		if at, err = peer.Publish(t.Context(), channel, []byte("{}"), roomy); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// stands fails the test unless the newest message of a channel is one, and the last global id another.
func stands(t *testing.T, peer *modelstore.Peer, channel string, id, globalID int64) {
	t.Helper()
	answer, err := peer.Read(t.Context(), []driver.Range{{Channel: channel}})
	if err != nil {
		t.Fatal(err)
	}
	if page := answer.Pages[0]; page.LastID != id || answer.State.GlobalID != globalID {
		t.Errorf("%s is at %d, the store at %d; want %d, %d", channel, page.LastID, answer.State.GlobalID, id, globalID)
	}
}

func TestRedis_FailOverGivesIDsAgain(t *testing.T) {
	t.Parallel()
	store := modelstore.NewRedis(nil)
	peer := store.Dial()
	publish(t, peer, "/a", 2)
	publish(t, peer, "/b", 3)
	store.FailOver(3)
	stands(t, peer, "/a", 2, 2)
	stands(t, peer, "/b", 0, 2)
	if at := publish(t, peer, "/b", 1); at != (driver.Position{GlobalID: 3, ID: 1}) {
		t.Errorf("the next is at %+v", at)
	}
}

// A sequence is in the log 32 ids ahead.
func TestPostgres_FailOverGoesOnFromTheLog(t *testing.T) {
	t.Parallel()
	store := modelstore.NewPostgres(nil)
	peer := store.Dial()
	publish(t, peer, "/a", 2)
	publish(t, peer, "/b", 3)
	store.FailOver(3)
	stands(t, peer, "/a", 2, 33)
	stands(t, peer, "/b", 0, 33)
	publish(t, peer, "/b", 1)
	store.FailOver(1)
	if at := publish(t, peer, "/b", 1); at.ID != 34 {
		t.Errorf("the next is at %+v; want 34, which was given before", at)
	}
}

func TestPostgres_PlainPublishersCommitInAnyOrder(t *testing.T) {
	t.Parallel()
	store := modelstore.NewPostgres(nil)
	peer := store.Dial()
	publish(t, peer, "/a", 1)
	begin := func() *modelstore.Plain {
		m, err := store.Begin("/a", []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first, second := begin(), begin()
	if inOrder, err := second.Commit(); err != nil || !inOrder {
		t.Errorf("the second: %v, %v", inOrder, err)
	}
	if inOrder, err := first.Commit(); err != nil || inOrder {
		t.Errorf("the first, after it: in order %v, %v", inOrder, err)
	}
	stands(t, peer, "/a", 3, 3)
	third := begin()
	store.Crash()
	if _, err := third.Commit(); err == nil {
		t.Error("a transaction outlived the server")
	}
	stands(t, peer, "/a", 3, 33)
	feed, err := peer.Listen(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if second.Announce() {
		t.Error("announced over a connection that was cut")
	}
	_ = feed.Close()
}
