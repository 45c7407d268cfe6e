package transport

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
)

// crowd puts so many clients of a channel into a table; each has a user, one of
// ten groups and one of so many client ids of its own.
func crowd(n int) (*table, map[*subscription]int) {
	t := newTable()
	who := make(map[*subscription]int, n)
	for i := range n {
		c := &client{recipient: recipientOf(fmt.Sprint("c", i), Identity{
			UserID: bus.IntID(int64(i)), GroupIDs: []bus.ID{bus.IntID(int64(i % 10)), bus.StringID("all")},
		})}
		c.subs = []*subscription{{client: c, channel: "/a"}}
		t.add(c.subs)
		who[c.subs[0]] = i
	}
	return t, who
}

// offered returns to whom a message is offered, and fails on repetitions.
func offered(tb testing.TB, t *table, who map[*subscription]int, m *bus.Message) map[int]bool {
	tb.Helper()
	to := make(map[int]bool)
	f := newFrame(m)
	e := t.offer("/a", f, func(s *subscription) {
		if to[who[s]] {
			tb.Errorf("client %d is offered message %d twice", who[s], m.ID)
		}
		to[who[s]] = true
	})
	e.pass(f)
	return to
}

func TestTable_MessageForOneUserIsWorkForThatUserAlone(t *testing.T) {
	t.Parallel()
	table, who := crowd(10_000)
	if n := len(offered(t, table, who, &bus.Message{ID: 1, GlobalID: 1})); n != len(who) {
		t.Errorf("a message for everybody is offered to %d", n)
	}
	for i, c := range []struct {
		m    bus.Message
		want int
	}{
		{bus.Message{UserIDs: []bus.ID{bus.IntID(7)}}, 1},
		{bus.Message{UserIDs: []bus.ID{bus.IntID(-1)}}, 0},
		{bus.Message{ClientIDs: []string{"c8", "c9"}}, 2},
		{bus.Message{ClientIDs: []string{"c8"}, UserIDs: []bus.ID{bus.IntID(7)}}, 1}, // is asked, and refused
		{bus.Message{GroupIDs: []bus.ID{bus.IntID(3)}}, 1000},
		{bus.Message{UserIDs: []bus.ID{bus.IntID(3)}, GroupIDs: []bus.ID{bus.IntID(3)}}, 1000},
	} {
		c.m.ID, c.m.GlobalID, c.m.Prev = int64(2+i), int64(2+i), int64(1+i)
		if n := len(offered(t, table, who, &c.m)); n != c.want {
			t.Errorf("message %d is offered to %d clients, want %d", c.m.ID, n, c.want)
		}
	}
}

func TestTable_MessageThatDoesNotFollowIsOfferedToAll(t *testing.T) {
	t.Parallel()
	table, who := crowd(100)
	forSeven := []bus.ID{bus.IntID(7)}
	for i, c := range []struct {
		id, prev int64
		want     int
	}{
		{5, 4, 100}, // the first one: what was before it is not known
		{6, 5, 1},
		{9, 8, 100}, // something is missing
		{10, 9, 1},
		{2, 10, 1}, // the ids of the channel began again
		{3, 2, 1},
	} {
		m := &bus.Message{ID: c.id, GlobalID: int64(100 + i), Prev: c.prev, UserIDs: forSeven}
		if n := len(offered(t, table, who, m)); n != c.want {
			t.Errorf("message %d after %d is offered to %d clients, want %d", c.id, c.prev, n, c.want)
		}
	}
}

func TestTable_UndecodableMessageIsOfferedToNobodyAndFollowedByOthers(t *testing.T) {
	t.Parallel()
	table, who := crowd(100)
	offered(t, table, who, &bus.Message{ID: 1, GlobalID: 1})
	skipped := &frame{passage: passage{id: 2, gid: 2}, skip: true}
	e := table.offer("/a", skipped, func(*subscription) { t.Error("it is offered") })
	e.pass(skipped)
	next := &bus.Message{ID: 3, GlobalID: 3, Prev: 2, UserIDs: []bus.ID{bus.IntID(7)}}
	if n := len(offered(t, table, who, next)); n != 1 {
		t.Errorf("the next message is offered to %d", n)
	}
}

func TestTable_IndexKnowsWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	table, who := crowd(200)
	offered(t, table, who, &bus.Message{ID: 1, GlobalID: 1})
	for id := int64(2); len(who) > 40; id++ {
		m := &bus.Message{ID: id, GlobalID: id, Prev: id - 1}
		for range 1 + rnd.IntN(3) {
			n := rnd.IntN(200)
			switch rnd.IntN(3) {
			case 0:
				m.UserIDs = append(m.UserIDs, bus.IntID(int64(n)))
			case 1:
				m.GroupIDs = append(m.GroupIDs, bus.IntID(int64(n%10)))
			default:
				m.ClientIDs = append(m.ClientIDs, fmt.Sprint("c", n))
			}
		}
		audience, to := audienceOf(m), offered(t, table, who, m)
		for s, i := range who {
			if audience.allows(&s.client.recipient) && !to[i] {
				t.Errorf("%+v is not offered to client %d", m, i)
			}
		}
		for s := range who {
			table.remove(s.client.subs)
			delete(who, s)
			break
		}
	}
	for s := range who {
		index := s.entry.index
		table.remove(s.client.subs)
		delete(who, s)
		if len(who) == 0 && len(index.users)+len(index.groups)+len(index.clients) > 0 {
			t.Error("the index remembers who has left")
		}
	}
}
