package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// A scene is a history whose times are written by hand: each step takes a second.
type scene struct {
	h    *History
	next time.Duration
	ids  map[string]int64 // by channel
	all  int64
}

func newScene() *scene { return &scene{h: New(), next: time.Second, ids: map[string]int64{}} }

func (s *scene) tick() (began, ended time.Duration) {
	s.next += time.Second
	return s.next - time.Second, s.next - time.Second/2
}

// publish adds accepted messages on a channel.
func (s *scene) publish(channel string, n int) {
	for range n {
		s.ids[channel]++
		s.all++
		s.attempt(channel, Accepted, s.ids[channel], s.all)
	}
}

func (s *scene) attempt(channel string, outcome Outcome, id, globalID int64) {
	p := &Publish{Number: len(s.h.publishes) + 1, Channel: channel, Outcome: outcome, ID: id, GlobalID: globalID}
	p.Began, p.Ended = s.tick()
	s.h.publishes = append(s.h.publishes, p)
}

func (s *scene) wipe() {
	s.breaks(Wipe)
	s.ids, s.all = map[string]int64{}, 0
}

// failover goes back to before the newest lost messages of /a.
func (s *scene) failover(lost int64) {
	s.breaks(Failover)
	s.ids["/a"] -= lost
	s.all -= lost
}

// restart makes the ids of a channel begin again.
func (s *scene) restart(channel string) {
	s.breaks(Restart)
	s.h.breaks[len(s.h.breaks)-1].Channel = channel
	s.ids[channel] = 0
}

// splitBrain publishes two messages on /a, which has two, while the failover goes on: the old
// server takes the first, which the new one never has.
func (s *scene) splitBrain() {
	s.publish("/a", 2)
	s.h.breaks[0].Ended = s.next - 2*time.Second
	s.h.publishes[2].ID, s.h.publishes[2].GlobalID = 4, 4
	s.h.publishes[3].ID, s.h.publishes[3].GlobalID = 3, 3
}

func (s *scene) breaks(kind Kind) {
	b := &Break{Kind: kind}
	b.Began, b.Ended = s.tick()
	s.h.breaks = append(s.h.breaks, b)
}

// reader adds one that has seen, now, what is written: numbers of messages, "late 3",
// and gaps as in "reset 5 1". It was there from the beginning, unless it subscribes now
// from a position.
func (s *scene) reader(channel string, from int64, seen ...string) *Reader {
	began, _ := s.tick()
	r := &Reader{Name: "reader", Start: Start{Channel: channel, ID: from}, h: s.h}
	if from > 0 {
		r.Start.Began, r.Start.Returned = began, began
	}
	for _, what := range seen {
		r.Sightings = append(r.Sightings, s.sighting(what, began))
	}
	s.h.readers = append(s.h.readers, r)
	return r
}

func (s *scene) sighting(what string, at time.Duration) Sighting {
	var number int
	var after, next int64
	var word string
	if _, err := fmt.Sscanf(what, "%d", &number); err == nil {
		return s.message(number, at)
	}
	if _, err := fmt.Sscanf(what, "late %d", &number); err == nil {
		m := s.message(number, at)
		m.Late = true
		return m
	}
	_, _ = fmt.Sscanf(what, "%s %d %d", &word, &after, &next)
	return Sighting{At: at, Gap: &bus.GapError{After: after, Next: next, Reason: bus.GapReason(word)}}
}

func (s *scene) message(number int, at time.Duration) Sighting {
	if number > len(s.h.publishes) {
		return Sighting{At: at, Number: number, Channel: "/a", ID: int64(number), GlobalID: int64(number)}
	}
	p := s.h.publishes[number-1]
	return Sighting{At: at, Number: number, Channel: p.Channel, ID: p.ID, GlobalID: p.GlobalID}
}

// Each history is held against the word that its breach is told with; none: it is fine.
func TestCheck_JudgesHistories(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		write func(*scene)
		want  string
	}{
		{"all in order", func(s *scene) { s.publish("/a", 3); s.reader("/a", 0, "1", "2", "3") }, ""},
		{"from a position", func(s *scene) { s.publish("/a", 3); s.reader("/a", 2, "3") }, ""},
		{"two channels", func(s *scene) { s.publish("/a", 1); s.publish("/b", 1); s.reader("", 0, "1", "2") }, ""},
		{"nobody reads the channel", func(s *scene) { s.publish("/a", 1); s.reader("/b", 0) }, ""},
		{"missing in the middle", func(s *scene) { s.publish("/a", 3); s.reader("/a", 1, "3") }, "never came"},
		{"missing at the end", func(s *scene) { s.publish("/a", 3); s.reader("/a", 1, "2") }, "never came"},
		{"missing in all channels", func(s *scene) { s.publish("/a", 1); s.publish("/b", 2); s.reader("", 0, "1", "3") }, "never came"},
		{"twice", func(s *scene) { s.publish("/a", 2); s.reader("/a", 0, "1", "2", "2") }, "it came before"},
		{"out of order", func(s *scene) { s.publish("/a", 3); s.reader("/a", 0, "1", "3", "2") }, "after the global id"},
		{"another channel's", func(s *scene) { s.publish("/a", 1); s.publish("/b", 1); s.reader("/a", 0, "1", "2") }, "another channel"},
		{"invented", func(s *scene) { s.publish("/a", 1); s.reader("/a", 0, "1", "2") }, "nobody published"},
		{"before it was published", func(s *scene) {
			r := s.reader("/a", 0)
			s.publish("/a", 1)
			r.Sightings = []Sighting{s.message(1, time.Second)}
		}, "published later"},
		{"refused", func(s *scene) { s.attempt("/a", Refused, 0, 0); s.reader("/a", 0, "1") }, "its publish failed"},
		{"another id than the publisher's", func(s *scene) {
			s.publish("/a", 1)
			s.reader("/a", 0, "1").Sightings[0].ID = 7
		}, "acknowledged as"},
		{"an unknown outcome that never came", func(s *scene) { s.attempt("/a", Unknown, 0, 0); s.publish("/a", 1); s.reader("/a", 0, "2") }, ""},
		{"an unknown outcome that came twice", func(s *scene) {
			s.attempt("/a", Unknown, 0, 0)
			again := s.reader("/a", 0, "1", "1").Sightings
			again[0].ID, again[0].GlobalID, again[1].ID, again[1].GlobalID = 1, 1, 2, 2
		}, "stored twice"},
		{"two messages with one global id", func(s *scene) {
			s.publish("/a", 1)
			s.attempt("/b", Accepted, 1, 1)
			s.reader("/a", 0, "1")
			s.reader("/b", 0, "2")
		}, "both have the global id"},
		{"late where nothing may be", func(s *scene) { s.publish("/a", 2); s.reader("/a", 0, "2", "late 1") }, "late"},
		{"late, after it was told to be lost", func(s *scene) { s.publish("/a", 3); s.reader("/a", 0, "1", "possible 1 3", "late 2", "3") }, ""},
		{"late, to one who asked for all there was, and found less", func(s *scene) {
			s.h.MayBeLate = true
			s.publish("/a", 3)
			r := s.reader("/a", 0, "late 1", "3")
			r.Start.Began, r.Start.Returned = s.next, s.next
		}, ""},
		{"late where it may be", func(s *scene) { s.h.MayBeLate = true; s.publish("/a", 2); s.reader("/a", 0, "2", "late 1") }, ""},
		{"late, again", func(s *scene) {
			s.h.MayBeLate = true
			s.publish("/a", 2)
			s.reader("/a", 0, "1", "2", "late 1")
		}, "it came before"},

		{"inside a gap", func(s *scene) { s.publish("/a", 4); s.reader("/a", 1, "trimmed 1 4", "4") }, ""},
		{"inside a possible gap", func(s *scene) { s.publish("/a", 4); s.reader("/a", 1, "possible 1 4", "4") }, ""},
		{"after a gap", func(s *scene) { s.publish("/a", 4); s.reader("/a", 1, "trimmed 1 3", "4") }, "never came"},
		{"before a gap", func(s *scene) { s.publish("/a", 4); s.reader("/a", 1, "trimmed 2 4", "4") }, "never came"},
		{"one that the gap takes in came", func(s *scene) { s.publish("/a", 3); s.reader("/a", 1, "trimmed 1 4", "3") }, "goes on to"},
		{"published after the gap was told", func(s *scene) {
			s.publish("/a", 2)
			r := s.reader("/a", 0, "1", "trimmed 1 9")
			s.publish("/a", 1)
			r.Sightings = append(r.Sightings, s.sighting("trimmed 9 10", s.next))
		}, "never came"},

		{"a wipe, told", func(s *scene) {
			s.publish("/a", 3)
			s.wipe()
			s.publish("/a", 2)
			s.reader("/a", 0, "1", "2", "reset 2 1", "4", "5")
		}, ""},
		{"a wipe, untold", func(s *scene) {
			s.publish("/a", 2)
			s.wipe()
			s.publish("/a", 3)
			s.reader("/a", 0, "1", "2", "5")
		}, "never came"},
		{"missing before a wipe that was told", func(s *scene) {
			s.publish("/a", 3)
			s.wipe()
			s.publish("/a", 1)
			s.reader("/a", 0, "1", "3", "reset 3 1", "4")
		}, "never came"},
		{"missing after a wipe that was told", func(s *scene) {
			s.publish("/a", 1)
			s.wipe()
			s.publish("/a", 3)
			s.reader("/a", 0, "1", "reset 1 1", "2", "4")
		}, "never came"},
		{"the first after a wipe is missing", func(s *scene) {
			s.publish("/a", 1)
			s.wipe()
			s.publish("/a", 3)
			s.reader("/a", 0, "1", "reset 1 1", "3", "4")
		}, "never came"},
		{"trimmed after a wipe", func(s *scene) {
			s.publish("/a", 1)
			s.wipe()
			s.publish("/a", 3)
			s.reader("/a", 0, "1", "reset 1 3", "4")
		}, ""},
		{"a reset where there was none, and some was trimmed", func(s *scene) {
			s.publish("/a", 4)
			s.reader("/a", 0, "1", "reset 1 3", "3", "4")
		}, ""},
		{"missing after a reset where there was none", func(s *scene) {
			s.publish("/a", 4)
			s.reader("/a", 0, "1", "2", "reset 2 1", "1", "2", "4")
		}, "never came"},
		{"a life that was slept through", func(s *scene) {
			s.publish("/a", 2)
			s.wipe()
			s.publish("/a", 5)
			s.wipe()
			s.publish("/a", 1)
			s.reader("/a", 0, "1", "2", "reset 2 1", "8")
		}, ""},
		{"a channel that begins again, told", func(s *scene) {
			s.publish("/a", 2)
			s.publish("/b", 1)
			s.restart("/a")
			s.publish("/b", 1)
			s.publish("/a", 2)
			s.reader("/a", 0, "1", "2", "reset 2 1", "5", "6")
			s.reader("/b", 0, "3", "4")
		}, ""},
		{"missing where another channel has begun again", func(s *scene) {
			s.publish("/b", 3)
			s.restart("/a")
			s.publish("/b", 1)
			s.reader("/b", 0, "1", "3", "4")
		}, "never came"},
		{"trimmed where a channel has begun again and passed the reader", func(s *scene) {
			s.publish("/a", 3)
			s.restart("/a")
			s.publish("/a", 6)
			s.reader("/a", 0, "1", "2", "3", "trimmed 3 5", "8", "9")
		}, ""},
		{"missing behind that", func(s *scene) {
			s.publish("/a", 3)
			s.restart("/a")
			s.publish("/a", 6)
			s.reader("/a", 0, "1", "2", "3", "trimmed 3 5", "9")
		}, "never came"},
		{"the old life of a channel comes back", func(s *scene) {
			s.publish("/a", 2)
			s.restart("/a")
			s.publish("/a", 1)
			s.reader("/a", 0, "1", "reset 1 1", "3", "reset 1 1", "2")
		}, "of the lives up to"},
		{"the old life comes back", func(s *scene) {
			s.publish("/a", 2)
			s.wipe()
			s.publish("/a", 1)
			s.reader("/a", 0, "1", "reset 1 1", "3", "reset 1 1", "2")
		}, "of the lives up to"},
		{"one who asked for all there was, and there was nothing any more", func(s *scene) {
			s.publish("/a", 3)
			r := s.reader("/a", 0)
			r.Start.Began, r.Start.Returned = s.next, s.next
			s.wipe()
			s.publish("/a", 1)
			r.Sightings = []Sighting{s.sighting("reset 3 1", s.next), s.sighting("4", s.next)}
		}, ""},
		{"one who asked for all there was, and lacks the end of it", func(s *scene) {
			s.publish("/a", 3)
			r := s.reader("/a", 0)
			r.Start.Began, r.Start.Returned = s.next, s.next
			s.publish("/a", 1)
			s.wipe()
			s.publish("/a", 1)
			r.Sightings = []Sighting{s.sighting("2", s.next), s.sighting("reset 4 1", s.next), s.sighting("5", s.next)}
		}, "message 3,"},
		{"in flight during a wipe", func(s *scene) {
			s.publish("/a", 2)
			s.wipe()
			s.h.publishes[1].Ended = s.next // whether it came before or after is not known
			s.publish("/a", 1)
			s.reader("/a", 0, "1", "reset 1 1", "3")
		}, ""},

		{"a failover that lost what nobody saw", func(s *scene) {
			s.publish("/a", 3)
			s.failover(1)
			s.publish("/a", 2)
			s.reader("/a", 0, "1", "2", "failover 2 3", "4", "5")
		}, ""},
		{"a failover that lost what was seen", func(s *scene) {
			s.publish("/a", 3)
			s.failover(1)
			s.publish("/a", 1)
			s.reader("/a", 0, "1", "2", "3", "reset 3 1", "1", "2", "4")
		}, ""},
		{"a failover, untold", func(s *scene) {
			s.publish("/a", 3)
			s.failover(1)
			s.publish("/a", 2)
			s.reader("/a", 0, "1", "2", "4", "5")
		}, "never came"},
		{"accepted by the old server when the failover was told", func(s *scene) {
			s.publish("/a", 2)
			s.failover(0)
			r := s.reader("/a", 0, "1", "2", "failover 2 3")
			s.splitBrain()
			r.Sightings = append(r.Sightings, s.sighting("4", s.next))
		}, ""},
		{"accepted by the old server when the reader had begun with the new one", func(s *scene) {
			s.publish("/a", 2)
			s.failover(0)
			r := s.reader("/a", 2)
			s.splitBrain()
			r.Sightings = append(r.Sightings, s.sighting("4", s.next))
		}, ""},
		{"accepted by the new server, and missing to who had begun with it", func(s *scene) {
			s.publish("/a", 2)
			s.failover(0)
			r := s.reader("/a", 2)
			s.publish("/a", 2)
			r.Sightings = append(r.Sightings, s.sighting("4", s.next))
		}, "never came"},
		{"missing before a failover that was told", func(s *scene) {
			s.publish("/a", 3)
			s.failover(0)
			s.publish("/a", 1)
			s.reader("/a", 0, "1", "3", "failover 3 4", "4")
		}, "never came"},
		{"missing after a failover that was told", func(s *scene) {
			s.publish("/a", 1)
			s.failover(0)
			s.publish("/a", 3)
			s.reader("/a", 0, "1", "failover 1 2", "2", "4")
		}, "never came"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScene()
			tt.write(s)
			_, err := s.h.Check()
			if got := fmt.Sprint(err); (tt.want == "") != (err == nil) || !strings.Contains(got, tt.want) {
				t.Errorf("verdict %v, want %q", err, tt.want)
			}
		})
	}
}

// tale makes a history of several lives that keeps the promise.
func tale(random *rand.Rand) *scene {
	s := newScene()
	seen := []string{}
	for life := range 1 + random.IntN(3) {
		if life > 0 {
			last := s.ids["/a"]
			s.wipe()
			seen = append(seen, fmt.Sprintf("reset %d 1", last))
		}
		for range 3 + random.IntN(20) {
			if random.IntN(3) == 0 {
				s.publish("/b", 1)
				continue
			}
			s.publish("/a", 1)
			seen = append(seen, fmt.Sprint(len(s.h.publishes)))
		}
		for range 2 {
			s.publish("/a", 1)
			seen = append(seen, fmt.Sprint(len(s.h.publishes)))
		}
	}
	s.reader("/a", 0, seen...)
	return s
}

// Whatever one change is made to what a reader saw, it is a breach.
func TestCheck_FindsEveryChange(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := tale(random)
		if _, err := s.h.Check(); err != nil {
			t.Fatalf("seed %d, before the change: %v", seed, err)
		}
		r := s.h.readers[0]
		before := fmt.Sprint(r.Sightings)
		// The first message may have been trimmed before the reader began.
		i := 1 + random.IntN(max(1, len(r.Sightings)-2))
		switch random.IntN(3) {
		case 0:
			r.Sightings = slices.Delete(r.Sightings, i, i+1)
		case 1:
			if r.Sightings[i].Gap != nil {
				continue // to be told twice is no breach
			}
			r.Sightings = slices.Insert(r.Sightings, i+random.IntN(2), r.Sightings[i])
		case 2:
			r.Sightings[i-1], r.Sightings[i] = r.Sightings[i], r.Sightings[i-1]
		}
		if _, err := s.h.Check(); err == nil {
			t.Errorf("seed %d: no breach\nbefore %s\nafter  %v", seed, before, r.Sightings)
		}
	}
}

func TestCheck_CountsLossesApart(t *testing.T) {
	t.Parallel()
	s := newScene()
	s.publish("/a", 3) // 1 is seen, 2 is trimmed, 3 is seen
	s.publish("/a", 1) // 4 is lost in the break
	s.wipe()
	s.attempt("/a", Unknown, 0, 0)
	s.attempt("/a", Refused, 0, 0)
	s.attempt("/a", Queued, 0, 0)
	s.publish("/a", 1)
	s.reader("/a", 0, "1", "trimmed 1 3", "3", "reset 3 1", "8")
	got, err := s.h.Check()
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Accepted: 5, Queued: 1, Unknown: 1, Refused: 1, Breaks: 1, Sightings: 5, LostInBreaks: 1, LostToTrimming: 1,
		Gaps: map[bus.GapReason]int{bus.GapTrimmed: 1, bus.GapReset: 1},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("report %+v, want %+v", got, want)
	}
}

func TestHistory_IsWrittenAsText(t *testing.T) {
	t.Parallel()
	h := New()
	h.Note("a note")
	cause := errors.New("the server is gone")
	err := h.Publish("/a", func(int) (int64, int64, error) { return 0, 0, cause })
	if !errors.Is(err, cause) {
		t.Errorf("Publish returned %v, want %v", err, cause)
	}
	r, err := h.Reader("reader 1", Start{Channel: "/a", Latest: true}, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	h.Break(Wipe, func() {})
	r.Saw(bus.Message{ID: 1, GlobalID: 2, Channel: "/a", Data: []byte(`{"number":1}`)}, nil)
	r.Saw(bus.Message{}, &bus.GapError{After: 3, Next: 5, Reason: bus.GapTrimmed})
	var text strings.Builder
	if _, err := h.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a note", "#1 on /a", "refused", "the server is gone", "BREAK wipe", `reader 1: "/a", latest`, "#1=1(2)", "[trimmed 3..5]"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}

func TestHistory_FaultsThatOverlapAreOne(t *testing.T) {
	t.Parallel()
	h := New()
	at := func(s int) time.Time { return h.began.Add(time.Duration(s) * time.Second) }
	h.Broke(Wipe, at(5), at(6))
	h.Broke(Failover, at(1), at(2))
	h.Broke(Wipe, at(8), at(9))
	h.Broke(Failover, at(4), at(8))
	var got []Break
	for _, b := range h.breaks {
		got = append(got, *b)
	}
	if want := []Break{{Failover, time.Second, 2 * time.Second, ""}, {Failover, 4 * time.Second, 9 * time.Second, ""}}; !slices.Equal(got, want) {
		t.Errorf("breaks %v, want %v", got, want)
	}
}
