package rubycompat_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A model plays a story by the rules of this module, and says what is wanted where
// they differ from the gem's. It is itself tested against the recordings: where no
// rule is at work it must come to what was recorded.
type model struct {
	postgres bool
	buses    []busSettings

	globalID int64
	channels map[string]*modelChannel // by stored name
	pointers []modelMessage           // Redis: the global backlog
	lifetime int                      // Redis: of the global backlog, in seconds

	readOnly  bool
	full      bool // Redis: there is no memory for anything
	queueSize int
	waiting   []publication
	foreign   map[string]string // Redis: keys that are not the gem's
	destroyed map[string]bool   // buses
	listeners map[string]*modelListener
	heard     map[string]bool // buses that have listened
	used      bool            // Postgres: the table exists
}

type modelChannel struct {
	id       int64
	lifetime int // seconds
	backlog  []modelMessage
}

type modelMessage struct {
	driver.Message

	db  string
	age int // seconds since it was stored
}

// A modelListener is a subscription.
type modelListener struct {
	bus, db string
	everyDB bool   // it reads the table as well, which all share
	stored  string // of one channel; empty: all
	raw     bool   // as backends hand messages out
	queue   []modelMessage
	closed  bool
}

// A publication is one publish, with its limits.
type publication struct {
	stored, db string
	envelope   string
	size, age  int
	ownAge     bool // the publish named it
	global     int
	every      int64
}

// ours rewrites what a story wants to what is wanted here.
func ours(s *story, postgres bool) {
	m := &model{
		postgres: postgres, buses: s.buses, channels: map[string]*modelChannel{}, destroyed: map[string]bool{},
		listeners: map[string]*modelListener{}, heard: map[string]bool{}, queueSize: 1000, foreign: map[string]string{},
	}
	for i := range s.steps {
		m.play(&s.steps[i])
	}
}

func (m *model) play(s *step) {
	b := m.bus(s.in.text("on"))
	switch s.op {
	case "publish":
		m.publishStep(s, b)
	case "fill":
		m.fillStep(s, b)
	case "backlog", "global_backlog", "last_id", "last_ids", "last_message", "backend.get_message":
		m.read(s, b)
	case "keys":
		s.want["keys"] = m.keys()
	case "rows":
		s.want["rows"] = m.rows()
	case "redis":
		m.command(texts(s.in.value("args")))
	case "sql":
		m.sql(s.in.text("sql"))
	case "server-readonly", "server-writable":
		m.readOnly = s.op == "server-readonly"
	case "backend.max_in_memory_publish_backlog=":
		m.queueSize = integer(argument(s.in, 0))
	case "queued":
		s.want["queued"] = number(len(m.waiting))
	case "wait-flush":
		m.announce(s, m.flush())
	case "reset!":
		if !m.readOnly {
			m.clear()
		}
	case "destroy":
		m.destroyed[b.name] = true
		m.announce(s, nil)
	case "listening":
		s.want["returns"] = m.heard[b.name] && !m.destroyed[b.name]
	case "subscribe", "local_subscribe", "backend.subscribe", "backend.global_subscribe":
		m.subscribe(s, b)
	case "backend.global_unsubscribe":
		m.closeListeners(b)
		m.announce(s, nil)
	case "received":
		s.want["messages"] = m.received(s.in.text("subscriber"))
	case "subscription-ended":
		s.want["returns"] = m.listeners[s.in.text("subscriber")].closed
	}
}

func (m *model) bus(name string) busSettings {
	for _, b := range m.buses {
		if b.name == name {
			return b
		}
	}
	return m.buses[0]
}

// storedName is empty where the names are refused.
func storedName(channel any, site any, b busSettings) string {
	if site == nil {
		site = b.value("site_id_lookup")
	}
	name, siteName := text(channel), text(site)
	refused := func(s string) bool {
		return strings.Contains(s, "$|$") || strings.Contains(s, "$$123$$") || strings.Contains(s, "\x00")
	}
	switch {
	case name == "" || refused(name):
		return ""
	case site == nil || strings.HasPrefix(name, "/global/"):
		return name
	case refused(siteName):
		return ""
	default:
		return name + "$|$" + siteName
	}
}

func refuse(s *step) {
	delete(s.want, "returns")
	if s.want["error"] == nil {
		s.want["error"] = "refused here"
	}
}

func (m *model) announced() string {
	if m.postgres {
		return "notified"
	}
	return "published"
}

// announce wants these messages, and no others, to have been announced in a step.
func (m *model) announce(s *step, messages []modelMessage) {
	all := []any{}
	for _, msg := range messages {
		name, encoded := "_message_bus_"+msg.db, string(msg.Encode())
		switch {
		case !m.postgres:
			all = append(all, object{"channel": name, "message": encoded})
		case len(encoded) <= 7999:
			all = append(all, object{"channel": name, "payload": encoded})
		}
	}
	s.want[m.announced()] = all
}

func (m *model) publishStep(s *step, b busSettings) {
	if m.destroyed[b.name] {
		return
	}
	p, refused := m.publication(s.in, b, s.in["data"])
	options, _ := s.in.value("options").(object)
	queues := options["queue_in_memory"] != false
	switch {
	case refused:
		m.announce(s, nil)
		refuse(s)
	case m.readOnly && !queues: // an error, as in the gem
	case m.readOnly || len(m.waiting) > 0:
		m.waiting = append(m.waiting, p)
		if len(m.waiting) > m.queueSize {
			m.waiting = m.waiting[1:]
		}
		s.want["returns"] = nil
		m.announce(s, nil)
	default:
		msg, ok := m.publish(p)
		m.announce(s, nil)
		if !ok {
			refuse(s)
			return
		}
		m.announce(s, []modelMessage{msg})
		delete(s.want, "error")
		s.want["returns"] = number(msg.ID)
	}
}

func (m *model) fillStep(s *step, b busSettings) {
	var ids []any
	for n := 1; n <= integer(s.in.value("count")); n++ {
		p, refused := m.publication(s.in, b, json.RawMessage(strconv.Itoa(n)))
		if refused {
			refuse(s)
			return
		}
		msg, _ := m.publish(p)
		ids = append(ids, number(msg.ID))
	}
	s.want["returns"] = []any{ids[0], ids[len(ids)-1]}
}

func (m *model) setting(b busSettings, name string, otherwise int) any {
	set, _ := b.value("set").(object)
	if v, ok := set[name]; ok {
		return v
	}
	if v := b.value(name); v != nil {
		return v
	}
	return number(otherwise)
}

// publication reads a publish; refused: it is not let through.
func (m *model) publication(in members, b busSettings, data json.RawMessage) (p publication, refused bool) {
	var options members
	_ = json.Unmarshal(in["options"], &options) // of a recording that was read before
	p = publication{
		stored: storedName(in.value("channel"), options.value("site_id"), b), db: text(b.value("db")),
		size: integer(m.setting(b, "max_backlog_size", 1000)), global: integer(m.setting(b, "max_global_backlog_size", 2000)),
		age: ceil(m.setting(b, "max_backlog_age", 604800)), every: int64(integer(m.setting(b, "clear_every", 1))),
	}
	if p.db == "" {
		p.db = "0"
	}
	if size := options.value("max_backlog_size"); size != nil {
		p.size = integer(size)
	}
	if age := options.value("max_backlog_age"); age != nil {
		p.age, p.ownAge = ceil(age), true
	}
	payload, readable := readablePayload(data)
	p.envelope = `{"data":` + payload + targetsText(options) + "}"
	return p, p.stored == "" || !readable || badTargets(text(in.value("channel")), options)
}

func ceil(seconds any) int {
	n, _ := seconds.(json.Number)
	f, _ := n.Float64()
	return int(math.Ceil(f))
}

// readablePayload is the JSON of data; false: a payload that breaks readers.
func readablePayload(raw json.RawMessage) (string, bool) {
	switch data := payload(raw).(type) {
	case json.RawMessage:
		return string(data), true
	case float64:
		return "", false
	default:
		encoded, err := json.Marshal(data)
		return string(encoded), err == nil
	}
}

func targetsText(options members) string {
	var b strings.Builder
	for _, name := range []string{"user_ids", "group_ids", "client_ids"} {
		value := string(options[name])
		if value == "" {
			value = "null"
		}
		fmt.Fprintf(&b, ",%q:%s", name, strings.ReplaceAll(value, ", ", ","))
	}
	return b.String()
}

func badTargets(channel string, options members) bool {
	for _, name := range []string{"user_ids", "group_ids", "client_ids"} {
		list, ok := options.value(name).([]any)
		if ok && (len(list) == 0 || name != "client_ids" && strings.HasPrefix(channel, "/global/")) {
			return true
		}
	}
	return false
}

// publish stores and announces a message; false: the store refused it.
func (m *model) publish(p publication) (modelMessage, bool) {
	c := m.channels[p.stored]
	if c == nil {
		c = &modelChannel{}
		m.channels[p.stored] = c
	}
	if c.lifetime < 0 || m.full { // its key is of another type
		return modelMessage{}, false
	}
	m.globalID++
	m.used = true
	msg := modelMessage{Message: driver.Message{Channel: p.stored, GlobalID: m.globalID, Data: []byte(p.envelope)}, db: p.db}
	if m.postgres {
		c.id = m.globalID
	} else {
		for _, old := range c.backlog { // its ids may have expired
			c.id = max(c.id, old.ID)
		}
		c.id++
	}
	msg.ID = c.id
	c.backlog = append(c.backlog, msg)
	for _, l := range m.listeners {
		l.hear(msg)
	}
	if m.postgres {
		m.trimRows(p, msg)
	} else {
		m.trimKeys(p, c, msg)
	}
	return msg, true
}

func (m *model) trimKeys(p publication, c *modelChannel, msg modelMessage) {
	m.point(msg)
	c.lifetime, m.lifetime = p.age, max(m.lifetime, p.age)
	if c.id > int64(p.size) && c.id%p.every == 0 {
		c.backlog = dropUpTo(c.backlog, func(old modelMessage) bool { return old.ID <= c.id-int64(p.size) })
	}
	if m.globalID > int64(p.global) && m.globalID%p.every == 0 {
		m.pointers = dropUpTo(m.pointers, func(old modelMessage) bool { return old.GlobalID <= m.globalID-int64(p.global) })
	}
	if p.age == 0 {
		delete(m.channels, p.stored)
	}
}

// point adds a pointer; one to an equal id and channel moves.
func (m *model) point(msg modelMessage) {
	m.pointers = slices.DeleteFunc(m.pointers, func(old modelMessage) bool {
		return old.ID == msg.ID && old.Channel == msg.Channel
	})
	m.pointers = append(m.pointers, msg)
}

func (m *model) trimRows(p publication, msg modelMessage) {
	if msg.GlobalID%p.every != 0 {
		return
	}
	for name, c := range m.channels {
		c.backlog = dropUpTo(c.backlog, func(old modelMessage) bool {
			own := name == p.stored
			return old.GlobalID <= msg.GlobalID-int64(p.global) ||
				(own || !p.ownAge) && (old.age > p.age || p.age == 0 && own)
		})
	}
	c := m.channels[p.stored]
	if n := len(c.backlog) - p.size; n > 0 {
		c.backlog = slices.Clone(c.backlog[n:])
	}
}

func dropUpTo(backlog []modelMessage, old func(modelMessage) bool) []modelMessage {
	return slices.DeleteFunc(slices.Clone(backlog), old)
}

func (m *model) flush() []modelMessage {
	var flushed []modelMessage
	for _, p := range m.waiting {
		msg, _ := m.publish(p)
		flushed = append(flushed, msg)
	}
	m.waiting = nil
	return flushed
}

func (m *model) clear() {
	m.globalID, m.pointers, m.lifetime = 0, nil, 0
	m.channels = map[string]*modelChannel{}
	m.used = m.used || m.postgres
}

// read answers what is asked of the store.
func (m *model) read(s *step, b busSettings) {
	if m.destroyed[b.name] {
		return
	}
	delete(s.want, "error")
	site := named(s.in, "site_id")
	switch s.op {
	case "backlog":
		site = argument(s.in, 2)
	case "last_id":
		site = argument(s.in, 1)
	case "global_backlog":
		s.want["returns"] = render(m.all(id(argument(s.in, 0))), false)
		return
	case "last_ids":
		m.readLastIDs(s, b, site)
		return
	}
	stored := storedName(argument(s.in, 0), site, b)
	if s.op == "backend.get_message" {
		stored = text(argument(s.in, 0))
	}
	if stored == "" {
		refuse(s)
		return
	}
	m.readChannel(s, stored)
}

func (m *model) readChannel(s *step, stored string) {
	backlog := m.backlog(stored)
	switch s.op {
	case "backlog":
		s.want["returns"] = render(after(backlog, id(argument(s.in, 1))), false)
	case "last_id":
		s.want["returns"] = number(m.lastID(stored))
	case "last_message":
		s.want["returns"] = nil
		if len(backlog) > 0 {
			s.want["returns"] = render(backlog, false)[len(backlog)-1]
		}
	case "backend.get_message":
		s.want["returns"] = nil
		for _, msg := range backlog {
			if msg.ID == id(argument(s.in, 1)) {
				s.want["returns"] = rawMessage(msg.Message)
			}
		}
	}
}

func (m *model) readLastIDs(s *step, b busSettings, site any) {
	ids := object{}
	for _, channel := range texts(s.in.value("args")) {
		stored := storedName(channel, site, b)
		if stored == "" {
			refuse(s)
			return
		}
		ids[channel] = number(m.lastID(stored))
	}
	s.want["returns"] = ids
}

func (m *model) backlog(stored string) []modelMessage {
	if c := m.channels[stored]; c != nil {
		return c.backlog
	}
	return nil
}

func (m *model) lastID(stored string) int64 {
	c := m.channels[stored]
	switch {
	case c == nil:
		return 0
	case !m.postgres:
		return c.id
	case len(c.backlog) == 0:
		return 0
	default:
		return c.backlog[len(c.backlog)-1].ID
	}
}

func after(backlog []modelMessage, id int64) []modelMessage {
	return slices.DeleteFunc(slices.Clone(backlog), func(msg modelMessage) bool { return msg.ID <= id })
}

// all is the global backlog after an id: what pointers lead to, or all rows.
func (m *model) all(after int64) []modelMessage {
	var found []modelMessage
	for _, name := range slices.Sorted(maps.Keys(m.channels)) {
		for _, msg := range m.channels[name].backlog {
			pointed := m.postgres || slices.ContainsFunc(m.pointers, func(p modelMessage) bool {
				return p.GlobalID == msg.GlobalID && p.Channel == msg.Channel
			})
			if pointed && msg.GlobalID > after {
				found = append(found, msg)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b modelMessage) int { return int(a.GlobalID - b.GlobalID) })
	return found
}

func render(messages []modelMessage, raw bool) []any {
	all := make([]any, len(messages))
	for i, msg := range messages {
		if raw {
			all[i] = rawMessage(msg.Message)
		} else {
			all[i] = openStored(msg.Message)
		}
	}
	return all
}

// openStored is a stored message as the bus of the gem opens it.
func openStored(m driver.Message) object {
	opened, _ := parse(json.RawMessage(m.Data)).(object)
	parts := strings.Split(m.Channel, "$|$")
	opened["channel"], opened["site_id"] = parts[0], nil
	if len(parts) > 1 && parts[1] != "" {
		opened["site_id"] = parts[1]
	}
	opened["global_id"], opened["message_id"] = number(m.GlobalID), number(m.ID)
	return opened
}

func (m *model) subscribe(s *step, b busSettings) {
	if m.destroyed[b.name] {
		return
	}
	m.heard[b.name] = true
	l := &modelListener{bus: b.name, db: text(b.value("db")), raw: strings.HasPrefix(s.op, "backend."), everyDB: m.postgres}
	if l.db == "" {
		l.db = "0"
	}
	from, channel := lastID(argument(s.in, 1)), argument(s.in, 0)
	switch {
	case s.op == "backend.global_subscribe":
		from = lastID(channel)
	case s.op == "backend.subscribe":
		l.stored = text(channel)
	case channel != nil:
		l.stored = storedName(channel, nil, b)
	}
	if from >= 0 {
		l.queue = m.replay(l.stored, from)
	}
	m.listeners[s.in.text("subscriber")] = l
}

// replay is the backlog after an id; all of it where the id is ahead.
func (m *model) replay(stored string, from int64) []modelMessage {
	if stored == "" {
		if from > m.globalID {
			from = 0
		}
		return m.all(from)
	}
	if from > m.lastID(stored) && from > m.globalID {
		from = 0
	}
	return after(m.backlog(stored), from)
}

// hear queues a message that was announced.
func (l *modelListener) hear(msg modelMessage) {
	if !l.closed && (l.everyDB || l.db == msg.db) && (l.stored == "" || l.stored == msg.Channel) {
		l.queue = append(l.queue, msg)
	}
}

func (m *model) received(subscriber string) []any {
	l := m.listeners[subscriber]
	got := render(l.queue, l.raw)
	l.queue = nil
	return got
}

func (m *model) closeListeners(b busSettings) {
	for _, l := range m.listeners {
		l.closed = l.closed || l.bus == b.name
	}
}

// command knows the commands to Redis that change what the gem has stored.
func (m *model) command(args []string) {
	if args[0] == "FLUSHALL" {
		m.clear()
	}
	if len(args) < 2 {
		return
	}
	stored, isID := strings.CutPrefix(args[1], "__mb_backlog_id_n_")
	backlog, isBacklog := strings.CutPrefix(args[1], "__mb_backlog_n_")
	switch {
	case args[0] == "CONFIG":
		m.full = args[2] == "maxmemory" && args[3] != "0"
	case args[0] == "SET" && !strings.HasPrefix(args[1], "__mb_"):
		m.foreign[args[1]] = args[2]
	case args[0] == "DEL" && args[1] == "__mb_global_id_n":
		m.globalID = 0
	case args[0] == "DEL" && isID && m.channels[stored] != nil:
		m.channels[stored].id = 0
	case args[0] == "DEL" && isBacklog && m.channels[backlog] != nil:
		m.channels[backlog].backlog = nil
	case args[0] == "SET" && isBacklog:
		m.channels[backlog] = &modelChannel{lifetime: -1}
	case args[0] == "SET" && isID:
		m.channels[stored] = &modelChannel{id: driver.ParseInt(args[2])}
	case args[0] == "SET" && args[1] == "__mb_global_id_n":
		m.globalID = driver.ParseInt(args[2])
	}
}

var (
	aging   = regexp.MustCompile(`UPDATE message_bus SET added_at = added_at - interval '(\d+) seconds' WHERE id (?:=|IN) \(?([\d, ]+)`)
	setting = regexp.MustCompile(`setval\('message_bus_id_seq', (\d+)\)`)
)

// sql knows the statements that the recordings use.
func (m *model) sql(statement string) {
	m.used = m.used || strings.HasPrefix(statement, "CREATE TABLE")
	if found := setting.FindStringSubmatch(statement); found != nil {
		m.globalID = driver.ParseInt(found[1])
	}
	if strings.HasPrefix(statement, "DELETE FROM message_bus") {
		m.channels = map[string]*modelChannel{}
	}
	found := aging.FindStringSubmatch(statement)
	if found == nil {
		return
	}
	for n := range strings.SplitSeq(found[2], ",") {
		for _, c := range m.channels {
			for i := range c.backlog {
				if c.backlog[i].ID == driver.ParseInt(n) {
					c.backlog[i].age += integer(json.Number(found[1]))
				}
			}
		}
	}
}

// keys are those of Redis.
func (m *model) keys() []any {
	byName := map[string]object{}
	for name, c := range m.channels {
		if c.lifetime < 0 {
			byName["__mb_backlog_n_"+name] = object{"type": "string", "value": matcher{check: func(any) string { return "" }}, "ttl": number(-1)}
			continue
		}
		ttl := number(inTensOf(c.lifetime))
		if c.id > 0 {
			byName["__mb_backlog_id_n_"+name] = object{"type": "string", "value": fmt.Sprint(c.id), "ttl": ttl}
		}
		if len(c.backlog) > 0 {
			byName["__mb_backlog_n_"+name] = object{"type": "zset", "members": scored(c.backlog, func(msg modelMessage) (int64, string) {
				return msg.ID, string(msg.Encode())
			}), "ttl": ttl}
		}
	}
	if len(m.pointers) > 0 {
		byName["__mb_global_backlog_n"] = object{"type": "zset", "members": scored(m.pointers, func(msg modelMessage) (int64, string) {
			return msg.GlobalID, fmt.Sprintf("%d|%s", msg.ID, msg.Channel)
		}), "ttl": number(inTensOf(m.lifetime))}
	}
	if m.globalID > 0 {
		byName["__mb_global_id_n"] = object{"type": "string", "value": fmt.Sprint(m.globalID), "ttl": number(-1)}
	}
	for name, value := range m.foreign {
		byName[name] = object{"type": "string", "value": value, "ttl": number(-1)}
	}
	keys := []any{}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		byName[name]["key"] = name
		keys = append(keys, byName[name])
	}
	return keys
}

func inTensOf(seconds int) int { return (seconds + 9) / 10 * 10 }

func scored(messages []modelMessage, as func(modelMessage) (int64, string)) []any {
	all := make([]any, len(messages))
	for i, msg := range messages {
		score, member := as(msg)
		all[i] = []any{number(score), member}
	}
	slices.SortStableFunc(all, func(a, b any) int { // as Redis does: by score, then by member
		first, second := a.([]any), b.([]any)
		return cmp.Or(
			cmp.Compare(integer(first[0]), integer(second[0])),
			cmp.Compare(text(first[1]), text(second[1])))
	})
	return all
}

// rows are those of Postgres; nil: there is no table.
func (m *model) rows() any {
	if !m.used {
		return nil
	}
	rows := []any{}
	for _, msg := range m.all(0) {
		rows = append(rows, object{"id": number(msg.ID), "channel": msg.Channel, "value": string(msg.Data)})
	}
	return rows
}
