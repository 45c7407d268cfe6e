package guide_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/httpclient"
	"github.com/messagebus-go/messagebus/integration/document"
)

// TestGuide_RunsAsItIsWritten does, checks, takes back and does again each step, in order. A client
// that signed in before the first one is connected all the time.
func TestGuide_RunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	needGem(t)
	m := newMachine(t)
	steps := readSteps(t)
	m.begin(steps[0])
	ann := m.connect("ann")
	ann.isServedBy("Ruby")
	publishers := m.publishers()
	for _, s := range steps[1:5] {
		begin := time.Now()
		m.follow(s.parts[""])
		m.follow(s.parts["Check"])
		ann.hearsFrom(publishers, s.name+", done")
		ann.isServedBy("Go")
		if len(s.parts["Back"]) > 0 {
			m.follow(s.parts["Back"])
			ann.hearsFrom(publishers, s.name+", taken back")
			ann.isServedBy(map[bool]string{true: "Ruby", false: "Go"}[s.name == steps[1].name])
			m.follow(s.forth())
			m.follow(s.parts["Check"])
			ann.hearsFrom(publishers, s.name+", done again")
			ann.isServedBy("Go")
		}
		t.Logf("%s: %.1f s", s.name, time.Since(begin).Seconds())
	}
	ann.hasAll()
}

// begin makes the machine what it is where the page begins.
func (m *machine) begin(s step) {
	m.t.Helper()
	files := slices.IndexFunc(s.parts[""], func(b document.Block) bool { return b.File == "" })
	m.follow(s.parts[""][:files])
	m.boot()
	m.env = append(m.env, "COOKIE="+m.signIn("ann"))
	m.follow(s.parts[""][files:])
}

// goBus is a bus of a Go service beside the application.
func (m *machine) goBus() *bus.Bus {
	m.t.Helper()
	store, err := redisbus.New(m.redis.Client(m.t), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	b, err := bus.New(store, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := b.Close(); err != nil {
			m.t.Error(err)
		}
	})
	return b
}

// publishers publish to ann and to others, from Ruby and from Go.
func (m *machine) publishers() map[string]func(text string) {
	b := m.goBus()
	return map[string]func(string){
		"Ruby": func(text string) {
			m.publishRuby("/alerts", "for bob", map[string]any{"user_ids": []any{8}})
			m.publishRuby("/alerts", text, map[string]any{"user_ids": []any{7}})
		},
		"Go": func(text string) {
			publishGo(m.t, b.Site("two"), "/alerts", "for another site", bus.ToUsers(bus.IntID(7)))
			publishGo(m.t, b.Site("one"), "/alerts", "for bob", bus.ToUsers(bus.IntID(8)))
			publishGo(m.t, b.Site("one"), "/alerts", text, bus.ToGroups(bus.StringID("staff")))
		},
	}
}

func publishGo(t *testing.T, b *bus.Bus, channel, text string, to ...bus.PublishOption) {
	t.Helper()
	if _, err := b.Publish(t.Context(), channel, text, to...); err != nil {
		t.Fatal(err)
	}
}

// publishRuby has the application publish on the site "one".
func (m *machine) publishRuby(channel, text string, targets map[string]any) {
	m.t.Helper()
	body := map[string]any{"channel": channel, "data": text}
	maps.Copy(body, targets)
	encoded, err := json.Marshal(body)
	if err != nil {
		m.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, "http://"+m.app+"/publish", bytes.NewReader(encoded))
	if err != nil {
		m.t.Fatal(err)
	}
	request.Host = "one.example.com"
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		m.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		m.t.Fatalf("publish from Ruby: %s", answer.Status)
	}
}

// A reader is a signed-in client that is connected through nginx.
type reader struct {
	m     *machine
	sub   *httpclient.Subscription
	heard []httpclient.Message
}

func (m *machine) connect(name string) *reader {
	m.t.Helper()
	cookie := m.signIn(name)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, m.public)
	}}
	client, err := httpclient.New("http://one.example.com/", &httpclient.Options{
		HTTPClient: &http.Client{Transport: transport},
		Header:     func(context.Context) (http.Header, error) { return http.Header{"Cookie": {cookie}}, nil },
		Timing:     httpclient.Timing{MaxPollInterval: time.Second},
		OnError:    func(err error) { m.t.Logf("%s: %v", name, err) },
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := client.Close(); err != nil {
			m.t.Error(err)
		}
		transport.CloseIdleConnections()
	})
	sub, err := client.Subscribe("/alerts", httpclient.After(0), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return &reader{m: m, sub: sub}
}

// isServedBy waits until it is this server that holds the reader's request.
func (r *reader) isServedBy(server string) {
	r.m.t.Helper()
	r.m.until("ann is served by "+server, func() bool { return (r.m.held() == 1) == (server == "Go") })
}

// hearsFrom has each publisher publish, and waits for it before the next one does: a Ruby server
// may lose a message that comes while it takes a request, if another one follows.
func (r *reader) hearsFrom(publishers map[string]func(string), what string) {
	r.m.t.Helper()
	for name, publish := range publishers {
		text := name + ": " + what
		publish(text)
		r.hears(text)
	}
}

// hears reads up to a message.
func (r *reader) hears(text string) {
	r.m.t.Helper()
	ctx, cancel := context.WithTimeout(r.m.t.Context(), patience)
	defer cancel()
	for last := ""; last != text; {
		message, err := r.sub.Next(ctx)
		if err != nil {
			r.m.t.Fatalf("waiting for %q: %v", text, err)
		}
		r.heard = append(r.heard, message)
		if err := json.Unmarshal(message.Data, &last); err != nil {
			r.m.t.Fatal(err)
		}
	}
}

// hasAll compares what ann has heard with all that the store has for her.
func (r *reader) hasAll() {
	r.m.t.Helper()
	stored, err := r.m.goBus().Site("one").Backlog(r.m.t.Context(), "/alerts", 0)
	if err != nil {
		r.m.t.Fatal(err)
	}
	var want, got []string
	for _, message := range stored {
		if !slices.Contains(message.UserIDs, bus.IntID(8)) {
			want = append(want, fmt.Sprintf("%d %s", message.ID, message.Data))
		}
	}
	for _, message := range r.heard {
		got = append(got, fmt.Sprintf("%d %s", message.ID, message.Data))
	}
	if !slices.Equal(got, want) {
		r.m.t.Errorf("ann heard\n%s\nand the store has for her\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
