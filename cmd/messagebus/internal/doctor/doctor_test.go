package doctor

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// failingWriter takes so many bytes.
type failingWriter struct{ room int }

var errFull = errors.New("full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.room -= len(b); w.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func exampleReport() *Report {
	r := &Report{Server: Server{"redis://h:1", "Redis 7.0.15", "database 0, pub/sub channel _message_bus_0", "3 messages in 2 channels"}}
	r.ok("server", "It is well.")
	r.fail("pub/sub", "Do that, and then, since one line is not enough for all that is to be done here, do something else as well.",
		"Nobody listens to %s, which is said in so many words that they do not fit into a line of the width that people read.", "_message_bus_0")
	week := int64(604800)
	r.Channels = []Channel{{Channel: "/a", Messages: 1, FirstID: 1, LastID: 1}, {Channel: "/b", Site: "eu", Messages: 2, FirstID: 3, LastID: 4, Expires: &week}}
	r.skip("%d of %d channels", 1, 3)
	r.finish()
	return r
}

const exampleText = `redis://h:1
Redis 7.0.15; database 0, pub/sub channel _message_bus_0
3 messages in 2 channels

  error    pub/sub  Nobody listens to _message_bus_0, which is said in so many words that they do
                    not fit into a line of the width that people read.
                    → Do that, and then, since one line is not enough for all that is to be done
                      here, do something else as well.
  ok       server   It is well.

   messages     first id      last id expires in  channel
          2            3            4     7 days  /b of site eu
          1            1            1          -  /a

Not looked at:
  - 1 of 3 channels
`

func TestText_IsAligned(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := exampleReport().Text(&b, false); err != nil || b.String() != exampleText {
		t.Errorf("%v, it is\n%s", err, b.String())
	}
}

func TestText_HasColoursWhereTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := exampleReport().Text(&b, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\x1b[31merror  \x1b[0m  pub/sub") {
		t.Errorf("it is\n%q", b.String())
	}
	plain := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(b.String())
	if plain != exampleText {
		t.Errorf("without colours it is\n%s", plain)
	}
}

func TestText_TellsOfAFullDisk(t *testing.T) {
	t.Parallel()
	for room := range len(exampleText) {
		if err := exampleReport().Text(&failingWriter{room}, false); !errors.Is(err, errFull) {
			t.Fatalf("room for %d bytes: %v", room, err)
		}
	}
}

func TestEnvelopeTrouble(t *testing.T) {
	t.Parallel()
	whole := func(s string) sample { return sample{s, int64(len(s))} }
	for _, test := range []struct {
		given sample
		want  string
	}{
		{whole(`{"data":1,"user_ids":null,"group_ids":null,"client_ids":null}`), ""},
		{whole(`{}`), ""},
		{sample{`{"data":"xx`, 100}, ""},
		{sample{`["data","xx`, 100}, "not a JSON object"},
		{whole(`{"data":NaN}`), "not a JSON object"},
		{whole(`{"data":1`), "not a JSON object"},
		{whole(`[]`), "not a JSON object"},
		{whole(`null`), "not a JSON object"},
		{whole(``), "not a JSON object"},
		{whole("\x04\b{\t"), "Ruby's Marshal"},
		{sample{"\x04\b{\t", 100}, "Ruby's Marshal"},
		{whole("\x84\xa4data\x01"), "MessagePack, as it seems"},
		{whole(`{":data":1}`), "Oj in a mode of its own"},
		{whole(`{"^o":"Time"}`), "Oj in a mode of its own"},
	} {
		if got := envelopeTrouble(test.given); got != test.want {
			t.Errorf("%q of %d bytes: %q, want %q", test.given.text, test.given.size, got, test.want)
		}
	}
}

// channelOf is a channel that one configuration keeps: after so many publishes, with a
// limit and clear_every.
func channelOf(published, size, every int64) pairFacts {
	first := int64(1)
	for id := int64(1); id <= published; id++ {
		if id > size && id%every == 0 {
			first = max(first, id-size+1)
		}
	}
	return pairFacts{
		idKind: "string", backlogKind: "zset", id: decimal(published), idLives: 100, lives: 100, count: published - first + 1,
		oldest: memberFacts{score: decimal(first)}, newest: memberFacts{score: decimal(published)},
	}
}

// TestJudgeSizes_AccusesOnlyTwoConfigurations publishes at random under one
// configuration, which is never accused, and under two.
func TestJudgeSizes_AccusesOnlyTwoConfigurations(t *testing.T) {
	t.Parallel()
	for range 500 {
		size := 1 + rand.Int64N(50)
		one := &redisFacts{channels: map[string]pairFacts{}}
		for _, name := range []string{"/a", "/b", "/c", "/d"} {
			one.channels[name] = channelOf(1+rand.Int64N(100), size, 1)
		}
		var r Report
		judgeSizes(&r, one)
		for _, f := range r.Findings {
			if f.Severity == Warning {
				t.Fatalf("one limit of %d: %s; %+v", size, f.Says, one.channels)
			}
		}
		two := &redisFacts{channels: map[string]pairFacts{"/a": channelOf(200, size, 1), "/b": channelOf(200, size+1+rand.Int64N(50), 1)}}
		r = Report{}
		judgeSizes(&r, two)
		if len(r.Findings) != 1 || r.Findings[0].Severity != Warning {
			t.Fatalf("%+v: %+v", two.channels, r.Findings)
		}
		every := 2 + rand.Int64N(10)
		lazy := &redisFacts{channels: map[string]pairFacts{}}
		for _, name := range []string{"/a", "/b", "/c"} {
			lazy.channels[name] = channelOf(100+rand.Int64N(100), size, every)
		}
		r = Report{}
		judgeSizes(&r, lazy)
		for _, f := range r.Findings {
			var named int64
			if f.Severity == Warning {
				for n := int64(2); n <= every; n++ {
					if strings.Contains(f.Do, "clear_every of "+decimal(n)+" ") {
						named = n
					}
				}
				if named == 0 {
					t.Fatalf("clear_every %d is not named as a reason: %s", every, f.Do)
				}
			}
		}
	}
}

func TestNames_CannotSteerATerminal(t *testing.T) {
	t.Parallel()
	var r Report
	r.note("names", "%s", named([]string{"/\x1b[31m\n\u009b", "\xff", strings.Repeat("ü", 300), "/d", "/e"}))
	if got := r.Findings[0].Says; !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\n\u009b") || len(got) > 400 || !strings.HasSuffix(got, " and 2 more") {
		t.Errorf("%q", got)
	}
}
