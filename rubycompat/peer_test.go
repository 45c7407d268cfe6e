package rubycompat_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// A peer plays one MessageBus::Instance of a recording by a Bus.
type peer struct {
	t        *testing.T
	server   server
	settings busSettings
	reason   string // which of its settings Go does not have
	set      object // attributes of the backend

	store     driver.Backend
	bus       *bus.Bus
	keepalive bool // must come soon
	destroyed bool
	off       bool // publishing is
}

func newPeer(t *testing.T, on server, settings busSettings) *peer {
	t.Helper()
	p := &peer{t: t, server: on, settings: settings, set: object{}}
	if set, ok := settings.value("set").(object); ok {
		p.set = set
	}
	if every := settings.value("clear_every"); every != nil {
		p.set["clear_every"] = every
	}
	p.store, p.reason = on.open(settings)
	p.reason = cmp.Or(p.reason, unknownName(settings.members, "a bus's", "db", "url_db", "backend_options_db", "site_id_lookup", "clear_every", "set"))
	for name := range p.set {
		p.reason = cmp.Or(p.reason, unknownName(members{name: nil}, "a backend's", settable...))
	}
	return p
}

// settable are the attributes of a backend that Go has as well.
var settable = []string{
	"max_backlog_size", "max_global_backlog_size", "max_backlog_age", "max_in_memory_publish_backlog", "clear_every",
}

// unknownName returns a reason where there is a setting that Go does not have.
func unknownName(settings members, whose string, known ...string) (reason string) {
	for name := range settings {
		if !slices.Contains(known, name) {
			return whose + " " + name
		}
	}
	return ""
}

// soon is how often a keepalive comes in a story that asks for one.
const soon = 300 * time.Millisecond

// root returns the bus, and opens it when it is first used, since its options do
// not change later.
func (p *peer) root() *bus.Bus {
	if p.bus == nil {
		options := &bus.Options{
			MaxBacklogSize:       p.setInt("max_backlog_size"),
			MaxGlobalBacklogSize: p.setInt("max_global_backlog_size"),
			MaxBacklogAge:        seconds(p.set["max_backlog_age"]),
			ClearEvery:           p.setInt("clear_every"),
			ReadOnlyQueue:        bus.QueueLimits{Messages: p.setInt("max_in_memory_publish_backlog")},
			Keepalive:            -1,
		}
		if p.keepalive {
			options.Keepalive = soon
		}
		b, err := bus.New(p.store, options)
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { b.Close() })
		p.bus = b
	}
	return p.bus
}

func (p *peer) setInt(name string) int { return integer(p.set[name]) }

// seconds is a duration that was recorded as a number of seconds.
func seconds(v any) time.Duration {
	n, _ := v.(json.Number)
	f, _ := n.Float64()
	return time.Duration(f * float64(time.Second))
}

// configure sets an attribute of the backend.
func configure(name string) func(*peer, members) object {
	return func(p *peer, in members) object {
		value := argument(in, 0)
		p.set[name] = value
		if p.bus != nil { // its options do not change: another one takes over
			p.store, p.reason = p.server.open(p.settings)
			p.bus = nil
		}
		return object{"returns": value}
	}
}

// site returns the view of the bus for a site; nil: the one that the bus's own
// lookup gives, if it has one.
func (p *peer) site(id any) *bus.Bus {
	if id == nil {
		id = p.settings.value("site_id_lookup")
	}
	if name, ok := id.(string); ok {
		return p.root().Site(name)
	}
	return p.root()
}

// argument returns the argument at a place; nil where there is none.
func argument(in members, at int) any {
	args, _ := in.value("args").([]any)
	if at < len(args) {
		return args[at]
	}
	return nil
}

func named(in members, name string) any {
	all, _ := in.value("named").(object)
	return all[name]
}

// text is a channel or another string; an id may be recorded as a number.
func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// id reads a last id as the gem does, by to_i.
func id(v any) int64 {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		return driver.ParseInt(v.String())
	case string:
		return driver.ParseInt(v)
	default:
		return 0
	}
}

func failed(err error) object { return object{"error": err} }

func (p *peer) publish(in members) object {
	return p.publishData(in, payload(in["data"]))
}

func (p *peer) publishData(in members, data any) object {
	if p.off {
		return object{"ruby-only": "a bus that is off", "returns": nil}
	}
	var options members
	if raw, ok := in["options"]; ok {
		if err := json.Unmarshal(raw, &options); err != nil {
			p.t.Fatal(err)
		}
	}
	with, reason := p.publishOptions(options)
	if reason != "" {
		return object{"ruby-only": reason}
	}
	id, err := p.site(options.value("site_id")).Publish(p.t.Context(), text(in.value("channel")), data, with...)
	switch {
	case errors.Is(err, bus.ErrQueued):
		return object{"returns": nil}
	case err != nil:
		return failed(err)
	default:
		return object{"returns": number(id)}
	}
}

func (p *peer) publishOptions(recorded members) (options []bus.PublishOption, reason string) {
	if size, ok := p.set["max_backlog_size"]; ok && integer(size) == 0 {
		options = append(options, bus.MaxBacklogSize(0)) // which Options takes for the default
	}
	if age, ok := p.set["max_backlog_age"]; ok && seconds(age) == 0 {
		options = append(options, bus.MaxBacklogAge(0)) // as above
	}
	for name, raw := range recorded {
		if string(raw) == "null" {
			continue
		}
		switch name {
		case "site_id":
		case "user_ids", "group_ids", "client_ids":
			option, reason := targetOption(name, raw)
			if reason != "" {
				return nil, reason
			}
			options = append(options, option)
		case "max_backlog_size":
			options = append(options, bus.MaxBacklogSize(integer(parse(raw))))
		case "max_backlog_age":
			options = append(options, bus.MaxBacklogAge(seconds(parse(raw))))
		case "queue_in_memory":
			if string(raw) == "false" {
				options = append(options, bus.WithoutReadOnlyQueue())
			}
		default:
			p.t.Fatalf("publish option %q is not known", name)
		}
	}
	return options, ""
}

func (p *peer) fill(in members) object {
	var ids []any
	for n := 1; n <= integer(in.value("count")); n++ {
		outcome := p.publishData(in, n)
		if outcome["error"] != nil || outcome["ruby-only"] != nil {
			return outcome
		}
		ids = append(ids, outcome["returns"])
	}
	return object{"returns": []any{ids[0], ids[len(ids)-1]}}
}

func (p *peer) backlog(in members) object {
	channel := argument(in, 0)
	if channel == nil {
		return p.globalBacklogAfter(id(argument(in, 1)))
	}
	found, err := p.site(argument(in, 2)).Backlog(p.t.Context(), text(channel), id(argument(in, 1)))
	return openedMessages(found, err)
}

func (p *peer) globalBacklog(in members) object { return p.globalBacklogAfter(id(argument(in, 0))) }

func (p *peer) globalBacklogAfter(after int64) object {
	found, err := p.root().GlobalBacklog(p.t.Context(), after)
	return openedMessages(found, err)
}

func openedMessages(found []bus.Message, err error) object {
	if err != nil {
		return failed(err)
	}
	messages := make([]any, len(found))
	for i, m := range found {
		messages[i] = openedMessage(m)
	}
	return object{"returns": messages}
}

func (p *peer) lastID(in members) object {
	last, err := p.site(argument(in, 1)).LastID(p.t.Context(), text(argument(in, 0)))
	if err != nil {
		return failed(err)
	}
	return object{"returns": number(last)}
}

func (p *peer) lastIDs(in members) object {
	found, err := p.site(named(in, "site_id")).LastIDs(p.t.Context(), texts(in.value("args"))...)
	if err != nil {
		return failed(err)
	}
	ids := object{}
	for channel, last := range found {
		ids[channel] = number(last)
	}
	return object{"returns": ids}
}

func texts(list any) []string {
	all, _ := list.([]any)
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = text(v)
	}
	return names
}

func (p *peer) lastMessage(in members) object {
	m, ok, err := p.site(nil).LastMessage(p.t.Context(), text(argument(in, 0)))
	switch {
	case err != nil:
		return failed(err)
	case !ok:
		return object{"returns": nil}
	default:
		return object{"returns": openedMessage(m)}
	}
}

func (p *peer) reset(members) object {
	resetter, ok := p.store.(driver.Resetter)
	if !ok {
		p.t.Fatalf("%T has no Reset", p.store)
	}
	if err := resetter.Reset(p.t.Context()); err != nil {
		return failed(err)
	}
	return object{}
}

func (p *peer) destroy(members) object {
	p.destroyed = true
	if err := p.root().Close(); err != nil {
		return failed(err)
	}
	return object{}
}

// turnOff and turnOn have no counterpart: what the gem would not publish is left out.
func (p *peer) turnOff(in members) object {
	p.off = named(in, "disable_publish") != false
	return object{"ruby-only": "to turn a bus off"}
}

func (p *peer) turnOn(members) object {
	p.off = false
	return object{"ruby-only": "to turn a bus on"}
}

func (p *peer) listening(members) object {
	return object{"returns": p.root().Health().Listening && !p.destroyed}
}

func (p *peer) queued(members) object {
	return object{"queued": number(p.root().Health().Queued)}
}

// The methods of the backend: channels are stored names, messages are not opened.

func (p *peer) publishStored(in members) object {
	p.root()
	options, _ := argument(in, 2).(object)
	limits := driver.Limits{
		MaxSize: orDefault(p.setInt("max_backlog_size"), 1000), MaxGlobalSize: orDefault(p.setInt("max_global_backlog_size"), 2000),
		MaxAge: orDefault(seconds(p.set["max_backlog_age"]), 7*24*time.Hour), ClearEvery: orDefault(p.setInt("clear_every"), 1),
	}
	if size := options["max_backlog_size"]; size != nil {
		limits.MaxSize = integer(size)
	}
	if age := options["max_backlog_age"]; age != nil {
		limits.MaxAge = seconds(age)
	}
	at, err := p.store.Publish(p.t.Context(), text(argument(in, 0)), []byte(text(argument(in, 1))), limits)
	if err != nil {
		return failed(err)
	}
	return object{"returns": number(at.ID)}
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (p *peer) page(r driver.Range) (driver.Page, error) {
	snapshot, err := p.store.Read(p.t.Context(), []driver.Range{r})
	if err != nil {
		return driver.Page{}, err
	}
	return snapshot.Pages[0], nil
}

func (p *peer) storedBacklog(in members) object {
	page, err := p.page(driver.Range{Channel: text(argument(in, 0)), After: max(id(argument(in, 1)), 0)})
	return rawMessages(page.Messages, err)
}

func (p *peer) storedGlobalBacklog(in members) object {
	page, err := p.store.GlobalBacklog(p.t.Context(), max(id(argument(in, 0)), 0), 0)
	return rawMessages(page.Messages, err)
}

func rawMessages(found []driver.Message, err error) object {
	if err != nil {
		return failed(err)
	}
	messages := make([]any, len(found))
	for i, m := range found {
		messages[i] = rawMessage(m)
	}
	return object{"returns": messages}
}

func (p *peer) storedLastID(in members) object {
	page, err := p.page(driver.Range{Channel: text(argument(in, 0)), Tail: 1})
	if err != nil {
		return failed(err)
	}
	return object{"returns": number(page.LastID)}
}

func (p *peer) storedLastIDs(in members) object {
	ids := []any{}
	for _, channel := range texts(in.value("args")) {
		page, err := p.page(driver.Range{Channel: channel, Tail: 1})
		if err != nil {
			return failed(err)
		}
		ids = append(ids, number(page.LastID))
	}
	return object{"returns": ids}
}

// getMessage reads the one message behind the id before.
func (p *peer) getMessage(in members) object {
	wanted := id(argument(in, 1))
	page, err := p.page(driver.Range{Channel: text(argument(in, 0)), After: wanted - 1, Max: 1})
	if err != nil {
		return failed(err)
	}
	at := slices.IndexFunc(page.Messages, func(m driver.Message) bool { return m.ID == wanted })
	if at < 0 {
		return object{"returns": nil}
	}
	return object{"returns": rawMessage(page.Messages[at])}
}
