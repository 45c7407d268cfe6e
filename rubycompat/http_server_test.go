package rubycompat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/transport"
)

// An httpServer is what the gem's server was in the recording: the handler on an
// empty store, in front of an application.
type httpServer struct {
	c       *httpCase
	backend driver.Backend
	address string

	mu    sync.Mutex // guards below
	hooks []string
}

// Retention as a peer without settings has it.
const gemBacklogSize, gemGlobalBacklogSize, gemBacklogAge = 1000, 2000, 604800 * time.Second

func startHTTP(t *testing.T, c *httpCase) *httpServer {
	t.Helper()
	database := stores.RedisShared(t)
	backend, err := redisbus.New(database.Client(t), &redisbus.Options{PubSubDB: fmt.Sprint(database.PubSubDB)})
	if err != nil {
		t.Fatal(err)
	}
	s := &httpServer{c: c, backend: backend}
	up := make(chan struct{}, 1)
	b, err := bus.New(backend, &bus.Options{Keepalive: -1, Trace: &bus.Trace{FeedUp: func() {
		select {
		case up <- struct{}{}:
		default:
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for i := range c.Before {
		s.publish(t, &c.Before[i])
	}
	handler, err := transport.NewHandler(b, s.options(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		path, _, _ := strings.Cut(r.RequestURI, "?")
		fmt.Fprintf(w, "the application got %s %s", r.Method, path)
	})))
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		if err := handler.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	s.address = server.Listener.Addr().String()
	select {
	case <-up:
	case <-time.After(30 * time.Second):
		t.Fatal("the feed is not live after 30 s")
	}
	return s
}

func (s *httpServer) publish(t *testing.T, p *httpPublish) {
	t.Helper()
	limits := driver.Limits{MaxSize: gemBacklogSize, MaxGlobalSize: gemGlobalBacklogSize, MaxAge: gemBacklogAge, ClearEvery: 1}
	if raw, ok := p.Opts["max_backlog_size"]; ok {
		if err := json.Unmarshal(raw, &limits.MaxSize); err != nil {
			t.Errorf("max_backlog_size: %v", err)
		}
	}
	channel, envelope := p.stored()
	if _, err := s.backend.Publish(context.Background(), channel, []byte(envelope), limits); err != nil {
		t.Errorf("publish on %q: %v", channel, err)
	}
}

// config reads a setting into v; false: it is absent.
func (s *httpServer) config(name string, v any) bool {
	raw, ok := s.c.Config[name]
	if ok && v != nil && json.Unmarshal(raw, v) != nil {
		return false
	}
	return ok
}

// note records a call of the application's code.
func (s *httpServer) notef(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, fmt.Sprintf(format, args...))
}

func (s *httpServer) options(t *testing.T) *transport.Options {
	t.Helper()
	o := &transport.Options{Identify: s.identify, Header: s.header}
	yes := true
	if s.config("long_polling_enabled", &yes); !yes {
		o.LongPoll.Disabled = true
	}
	yes = true
	if s.config("chunked_encoding_enabled", &yes); !yes {
		o.LongPoll.DisableChunked = true
	}
	var ms int
	s.config("long_polling_interval_ms", &ms)
	o.LongPoll.Hold = time.Duration(ms) * time.Millisecond
	if s.config("max_active_clients", &o.Limits.MaxHeld) && o.Limits.MaxHeld == 0 {
		o.Limits.MaxHeld = -1
	}
	s.config("base_route", &o.BasePath)
	var broadcast bool
	if s.config("allow_broadcast", &broadcast); broadcast {
		o.Broadcast = func(*http.Request, string) error { return nil }
	}
	if s.config("on_middleware_error", nil) {
		o.OnError = s.onError
	}
	var filters []recordedFilter
	s.config("filters", &filters)
	for _, f := range filters {
		o.Filters = append(o.Filters, transport.Filter{Prefix: f.Prefix, Allow: s.filter(f)})
	}
	return o
}

// raises reports whether a look-up fails.
func (s *httpServer) raises(lookUps ...string) bool {
	var name string
	return s.config("raise_in", &name) && slices.Contains(lookUps, name)
}

var errLookUp = errors.New("the look-up failed")

// identify answers what the look-ups of the recording do.
func (s *httpServer) identify(r *http.Request) (id transport.Identity, err error) {
	if s.raises("user_id_lookup", "group_ids_lookup", "site_id_lookup") {
		return id, errLookUp
	}
	s.config("user_id", &id.UserID)
	s.config("group_ids", &id.GroupIDs)
	_, id.Sited = s.c.Config["site_id"]
	s.config("site_id", &id.Site)
	var name string
	if s.config("user_id_header", &name) && r.Header.Get(name) != "" {
		err = json.Unmarshal([]byte(r.Header.Get(name)), &id.UserID)
	}
	if s.config("group_ids_header", &name) && r.Header.Get(name) != "" {
		err = errors.Join(err, json.Unmarshal([]byte(r.Header.Get(name)), &id.GroupIDs))
	}
	if s.config("site_id_header", &name) {
		id.Site, id.Sited = r.Header.Get(name), true
	}
	return id, err
}

func (s *httpServer) header(_ *http.Request, h http.Header) {
	if s.raises("extra_response_headers_lookup") {
		panic(errLookUp)
	}
	var extra map[string]string
	s.config("extra_headers", &extra)
	for name, value := range extra {
		h.Set(name, value)
	}
}

func (s *httpServer) onError(w http.ResponseWriter, _ *http.Request, _ error) bool {
	s.notef("on_middleware_error")
	var answer []json.RawMessage
	s.config("on_middleware_error", &answer)
	if answer == nil {
		return false
	}
	var status int
	var headers map[string]string
	var body []string
	if err := errors.Join(json.Unmarshal(answer[0], &status), json.Unmarshal(answer[1], &headers), json.Unmarshal(answer[2], &body)); err != nil {
		return false
	}
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(status)
	for _, part := range body {
		fmt.Fprint(w, part)
	}
	return true
}

// A recordedFilter is a client filter of the recording.
type recordedFilter struct {
	Prefix       string   `json:"prefix"`
	Label        *string  `json:"label"`
	Allow        *bool    `json:"allow"`
	RefuseIfData []string `json:"refuse_if_data"`
	AllowIfData  []string `json:"allow_if_data"`
	RaiseIfData  *string  `json:"raise_if_data"`
}

func (s *httpServer) filter(f recordedFilter) func(*bus.Message, transport.Identity, string) bool {
	label := f.Prefix
	if f.Label != nil {
		label = *f.Label
	}
	return func(m *bus.Message, _ transport.Identity, _ string) bool {
		s.notef("filter %s on %s %s", label, m.Channel, m.Data)
		var data string
		if err := m.Decode(&data); err != nil {
			return false
		}
		switch {
		case f.RaiseIfData != nil && data == *f.RaiseIfData:
			panic(errLookUp)
		case f.RefuseIfData != nil:
			return !slices.Contains(f.RefuseIfData, data)
		case f.AllowIfData != nil:
			return slices.Contains(f.AllowIfData, data)
		default:
			return f.Allow == nil || *f.Allow
		}
	}
}

func (s *httpServer) dial(t *testing.T) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
