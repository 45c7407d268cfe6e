package bus_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
)

func TestPublish_RefusesWhatAPeerWouldMisread(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for name, test := range map[string]struct {
		site    string
		channel string
		data    any
		opts    []bus.PublishOption
		want    error
	}{
		"empty channel":           {channel: "", want: bus.ErrInvalidChannel},
		"site separator":          {channel: "/a$|$b", want: bus.ErrInvalidChannel},
		"escape of a pipe":        {channel: "/a$$123$$b", want: bus.ErrInvalidChannel},
		"escape made by a pipe":   {channel: "/a$$123|$$", want: bus.ErrInvalidChannel},
		"NUL":                     {channel: "/a\x00", want: bus.ErrInvalidChannel},
		"invalid UTF-8":           {channel: "/a\xff", want: bus.ErrInvalidChannel},
		"site with a separator":   {channel: "/a", site: "x$|$y", want: bus.ErrInvalidChannel},
		"site that shifts":        {channel: "/a$|", site: "s", want: bus.ErrInvalidChannel},
		"empty list of users":     {channel: "/a", opts: []bus.PublishOption{bus.ToUsers()}, want: bus.ErrInvalidTarget},
		"empty list of groups":    {channel: "/a", opts: []bus.PublishOption{bus.ToGroups()}, want: bus.ErrInvalidTarget},
		"empty list of clients":   {channel: "/a", opts: []bus.PublishOption{bus.ToClients()}, want: bus.ErrInvalidTarget},
		"null user":               {channel: "/a", opts: []bus.PublishOption{bus.ToUsers(bus.ID{})}, want: bus.ErrInvalidTarget},
		"client with NUL":         {channel: "/a", opts: []bus.PublishOption{bus.ToClients("a\x00")}, want: bus.ErrInvalidTarget},
		"user of invalid UTF-8":   {channel: "/a", opts: []bus.PublishOption{bus.ToUsers(bus.StringID("\xff"))}, want: bus.ErrInvalidTarget},
		"users on /global/":       {channel: "/global/a", opts: []bus.PublishOption{bus.ToUsers(bus.IntID(1))}, want: bus.ErrInvalidTarget},
		"groups on /global/":      {channel: "/global/a", opts: []bus.PublishOption{bus.ToGroups(bus.IntID(1))}, want: bus.ErrInvalidTarget},
		"negative size":           {channel: "/a", opts: []bus.PublishOption{bus.MaxBacklogSize(-1)}, want: bus.ErrInvalidLimit},
		"negative age":            {channel: "/a", opts: []bus.PublishOption{bus.MaxBacklogAge(-1)}, want: bus.ErrInvalidLimit},
		"NaN":                     {channel: "/a", data: math.NaN(), want: bus.ErrInvalidData},
		"no JSON form":            {channel: "/a", data: func() {}, want: bus.ErrInvalidData},
		"broken raw JSON":         {channel: "/a", data: json.RawMessage(`{"a":`), want: bus.ErrInvalidData},
		"empty raw JSON":          {channel: "/a", data: json.RawMessage(``), want: bus.ErrInvalidData},
		"number beyond a double":  {channel: "/a", data: json.RawMessage(`[1,-1e400]`), want: bus.ErrInvalidData},
		"integer beyond a double": {channel: "/a", data: json.RawMessage(strings.Repeat("9", 400)), want: bus.ErrInvalidData},
		"lone high surrogate":     {channel: "/a", data: json.RawMessage(`"\ud83d"`), want: bus.ErrInvalidData},
		"lone low surrogate":      {channel: "/a", data: json.RawMessage(`"\udc00x"`), want: bus.ErrInvalidData},
		"two high surrogates":     {channel: "/a", data: json.RawMessage(`"\ud83d\ud83d"`), want: bus.ErrInvalidData},
		"nested too deep":         {channel: "/a", data: json.RawMessage(deep), want: bus.ErrInvalidData},
		"string of invalid UTF-8": {channel: "/a", data: "a\xffb", want: bus.ErrInvalidData},
		"raw of invalid UTF-8":    {channel: "/a", data: json.RawMessage("\"\xff\""), want: bus.ErrInvalidData},
		"too large":               {channel: "/a", data: strings.Repeat("x", 9<<20), want: bus.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bustest.New(t)
			if test.site != "" {
				b = b.Site(test.site)
			}
			id, err := b.Publish(t.Context(), test.channel, test.data, test.opts...)
			if !errors.Is(err, test.want) || id != 0 {
				t.Fatalf("Publish returned %d, %v; want an error that is %v", id, err, test.want)
			}
			if all, err := b.GlobalBacklog(t.Context(), 0); err != nil || len(all) != 0 {
				t.Fatalf("it was stored all the same: %v, %v", all, err)
			}
		})
	}
}

func TestPublish_TakesWhatLooksOdd(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for _, channel := range []string{"chan", "/", "//a///b/", "/a b", "/a|b", "||", "/50%", "/käse/日本", "/😀", "/a$b", "/a$", "/a\nb", `/a"b\c`, "/__status", "/$$12|3$$"} {
		for _, b := range []*bus.Bus{b, b.Site("s"), b.Site("")} {
			want := json.RawMessage(`{"a":[1,2.0,"😀 <b>|\u0000"]}`)
			id, err := b.Publish(t.Context(), channel, want)
			if err != nil {
				t.Fatal(err)
			}
			m, ok, err := b.LastMessage(t.Context(), channel)
			if err != nil || !ok || m.ID != id || m.Channel != channel || string(m.Data) != string(want) {
				t.Errorf("channel %q: LastMessage returned %+v, %v, %v", channel, m, ok, err)
			}
		}
	}
}

// The bytes are those of the gem's own envelopes.
func TestEncodePayload_WritesJSONAsTheGem(t *testing.T) {
	t.Parallel()
	for want, data := range map[string]any{
		`"<b> & 'c'"`:          "<b> & 'c'",
		"\"a\u2028b\u2029c\"":  "a\u2028b\u2029c",
		`"\\u2028"`:            `\u2028`,
		"\"\x7f\"":             "\x7f",
		`"\b\f\n\r\t\u0001"`:   "\b\f\n\r\t\x01",
		"\"\ufffd\"":           "\ufffd",
		`null`:                 nil,
		`[1,"a",null,true]`:    []any{1, "a", nil, true},
		`{"b":1,"a":[]}`:       json.RawMessage(" {\"b\" : 1,\n\"a\":[] } "),
		`"\ufffd\ud83d\ude00"`: json.RawMessage(`"\ufffd\ud83d\ude00"`),
	} {
		got, err := bus.EncodePayload(data)
		if err != nil || string(got) != want {
			t.Errorf("%v was encoded as %s, %v; want %s", data, got, err, want)
		}
	}
}

func TestPublish_LimitsOfOnePublishOverrideTheBuses(t *testing.T) {
	t.Parallel()
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{MaxBacklogSize: 2})
	publish := func(opts ...bus.PublishOption) {
		t.Helper()
		if _, err := b.Publish(t.Context(), "/a", 1, opts...); err != nil {
			t.Fatal(err)
		}
	}
	stored := func() int {
		t.Helper()
		all, err := b.Backlog(t.Context(), "/a", 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	for range 5 {
		publish()
	}
	if n := stored(); n != 2 {
		t.Errorf("%d messages are stored; the bus keeps 2", n)
	}
	publish(bus.MaxBacklogSize(10))
	if n := stored(); n != 3 {
		t.Errorf("%d messages are stored; this publish keeps 10", n)
	}
	publish(bus.MaxBacklogAge(time.Millisecond))
	if n := stored(); n == 0 {
		t.Error("a fraction of a second was taken for 0")
	}
	publish(bus.MaxBacklogAge(0))
	if n := stored(); n != 0 {
		t.Errorf("%d messages are stored; age 0 keeps nothing", n)
	}
}

func TestPublish_ErrorsSayWhetherItIsStored(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store, nil)
	store.Faults().SetReadOnly(true)
	if _, err := b.Publish(t.Context(), "/a", 1, bus.WithoutReadOnlyQueue()); !errors.Is(err, bus.ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	store.Faults().SetReadOnly(false)
	store.Faults().LoseAnswers(1)
	if _, err := b.Publish(t.Context(), "/a", 1); !errors.Is(err, bus.ErrUnknownOutcome) {
		t.Errorf("lost answer: %v", err)
	}
	if all, _ := b.Backlog(t.Context(), "/a", 0); len(all) != 1 {
		t.Errorf("%d messages are stored; a publish is sent once and never again", len(all))
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), "/a", 1); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestNew_RefusesNegativeLimits(t *testing.T) {
	t.Parallel()
	for _, opts := range []bus.Options{{MaxBacklogSize: -1}, {MaxGlobalBacklogSize: -1}, {ClearEvery: -1}, {MaxMessageBytes: -1}, {MaxBacklogAge: -1}, {LivenessBound: -1}} {
		if _, err := bus.New(bustest.NewStore(t), &opts); !errors.Is(err, bus.ErrInvalidLimit) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}
