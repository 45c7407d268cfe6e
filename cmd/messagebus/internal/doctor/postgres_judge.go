package doctor

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// gemColumns is the table as the gem makes it, in all versions since 2.0, which was the
// first with Postgres.
const gemColumns = "id bigint, channel text, value text, added_at timestamp without time zone"

// judgePostgres makes findings of facts.
func judgePostgres(r *Report, f *postgresFacts) {
	describePostgres(r, f)
	judgePostgresServer(r, f)
	judgeQueue(r, f)
	judgeZones(r, f)
	judgeClock(r, f.ahead)
	judgeListeners(r, f)
	if f.table == nil {
		judgeNoTable(r, f)
		return
	}
	judgeTable(r, f)
	judgeTableRights(r, f)
	judgeOrder(r, f)
	if f.looked {
		judgeSequence(r, f)
		judgeRows(r, f)
		judgeEnvelopes(r, f)
	}
}

func describePostgres(r *Report, f *postgresFacts) {
	r.Server.Version = "Postgres " + f.server.Version
	r.Server.Place = "database " + f.server.Database + ", notification channel " + f.listenName
	total, last := int64(0), int64(0)
	for _, c := range f.channels {
		total += c.Messages
		last = max(last, c.Last)
		channel, site := splitName(c.Channel)
		r.Channels = append(r.Channels, Channel{
			Channel: printable(channel), Site: printable(site), Messages: c.Messages, FirstID: c.First, LastID: c.Last, Largest: c.Largest,
		})
	}
	r.Server.Holds = counted(total, "message", "messages") + " in " + counted(len(f.channels), "channel", "channels")
	if f.rowsSkipped {
		r.Server.Holds = "the newest " + r.Server.Holds
	}
	if f.table != nil && f.table.Given >= 0 {
		last = f.table.Given
	}
	r.Server.Holds += ", last id " + decimal(last)
}

func judgePostgresServer(r *Report, f *postgresFacts) {
	const topic, oldest = "server", 130000
	s := f.server
	switch {
	case s.Number < oldest:
		r.fail(topic, "Upgrade to Postgres 13 or newer.", "Postgres %s is older than what Go peers work with.", s.Version)
	case s.Encoding != "UTF8":
		r.fail(topic, "Use a database with the encoding UTF8.", "The encoding of the database is %s: not every message can be stored.", s.Encoding)
	default:
		r.ok(topic, "Postgres %s, encoding %s.", s.Version, s.Encoding)
	}
	switch {
	case s.Recovering:
		r.fail("replication", "Name the primary (several hosts and target_session_attrs=read-write do).", "It is a standby, which takes no writes, and on which nobody can LISTEN.")
	case s.Replicas > 0:
		r.note("replication", "A primary with %s. Where replication is asynchronous a failover can lose messages that were accepted.", counted(s.Replicas, "standby", "standbys"))
	default:
		r.ok("replication", "A primary without standbys.")
	}
	if s.ReadOnly && !s.Recovering {
		r.fail(topic, "Reset default_transaction_read_only for this role and database.", "Transactions of this role are read-only by default: nothing can be published.")
	}
	if s.Isolation != "read committed" {
		r.warn(topic, "Set default_transaction_isolation to read committed for the bus's role.",
			"Transactions of this role are %s by default; the order of ids is kept under read committed alone.", s.Isolation)
	}
	if f.pooled {
		r.warn("pooler", "Give Go peers a direct address for LISTEN (pgbus.Options.ListenConfig), and Ruby peers one for everything; or use session mode.",
			"A pooler such as PgBouncer is in between. In transaction mode LISTEN does not work through it, and nothing is heard live.")
	}
}

func judgeQueue(r *Report, f *postgresFacts) {
	const topic, half, some = "queue", 0.5, 0.01
	const do = "Look in pg_stat_activity for the oldest transaction of a session that has executed LISTEN, and end it."
	switch usage := f.server.Queue; {
	case usage >= half:
		r.fail(topic, do, "The notification queue is %.0f%% full. When it is full, every publish fails.", usage*100)
	case usage >= some:
		r.warn(topic, do, "The notification queue is %.0f%% full, and some session does not read it.", usage*100)
	default:
		r.ok(topic, "The notification queue is empty, or nearly.")
	}
}

// judgeZones is about added_at, which is the local time of whoever stores a row.
func judgeZones(r *Report, f *postgresFacts) {
	const topic = "time zone"
	backwards, future := int64(0), int64(0)
	for _, c := range f.channels {
		backwards += c.Backwards
		future += c.Future
	}
	const do = "Leave TimeZone as the server has it, in every role, database and connection of the bus (in Rails: do not set variables: timezone)."
	switch {
	case future > 0:
		r.warn(topic, do, "%s of the future, by this session's time zone %s: publishers disagree on it, and each expires the others' messages early or late.",
			counted(future, "row is", "rows are"), f.server.TimeZone)
	case backwards > 0:
		r.warn(topic, do, "Time goes back between stored messages, %s: publishers disagree on the time zone, or a clock was set.", counted(backwards, "time", "times"))
	case len(f.server.Zones) > 0:
		r.note(topic, "Some roles or databases set a time zone of their own (%s); all publishers must have the same.", named(f.server.Zones))
	case f.looked:
		r.ok(topic, "Stored times agree with each other; this session is in %s.", f.server.TimeZone)
	}
}

func judgeListeners(r *Report, f *postgresFacts) {
	const topic = "listen"
	if f.listeners == nil {
		return
	}
	others, here := map[string]int64{}, f.listeners[f.listenName]
	for name, count := range f.listeners {
		if name != f.listenName && name != f.listenName+"_id" {
			others[name] = count
		}
	}
	names := slices.Sorted(maps.Keys(others))
	hidden := ""
	if f.hidden > 0 {
		hidden = " What " + counted(f.hidden, "session of another role does", "sessions of other roles do") + " cannot be seen (pg_read_all_stats)."
	}
	switch {
	case here == 0 && len(names) > 0 && f.hidden == 0:
		r.fail(topic, "Give the peers' number as ?pubsub_db=N; it is the gem's own db setting.",
			"Nobody listens to %s, and others listen to %s: what is published by this URL reaches none of them live.", f.listenName, named(names))
	case here == 0:
		r.note(topic, "No session is seen to listen to %s.%s", f.listenName, hidden)
	case len(names) > 0:
		r.note(topic, "%s to %s, and some to %s, which share the table.%s", counted(here, "session listens", "sessions listen"), f.listenName, named(names), hidden)
	default:
		r.ok(topic, "%s to %s.%s", counted(here, "session listens", "sessions listen"), f.listenName, hidden)
	}
}

func judgeNoTable(r *Report, f *postgresFacts) {
	const topic = "table"
	if !f.server.MayCreate {
		r.fail(topic, "GRANT CREATE on the schema, or create the table as its owner (pgbus.Schema has the statements).",
			"There is no table message_bus on the search path, and role %s may not create it.", f.server.Role)
		return
	}
	r.note(topic, "There is no table message_bus on the search path yet; the first publish makes it.")
}

func judgeTable(r *Report, f *postgresFacts) {
	const topic = "table"
	t := f.table
	const same = "Rename it; the bus makes its own."
	switch {
	case !strings.HasPrefix(t.Columns, gemColumns):
		r.fail(topic, same, "%s.message_bus is another table than the bus's: %s.", t.Schema, shorten(t.Columns, 200))
	case t.Columns != gemColumns:
		r.note(topic, "%s.message_bus has further columns: %s.", t.Schema, shorten(strings.TrimPrefix(t.Columns, gemColumns+", "), 200))
	default:
		r.ok(topic, "%s.message_bus is as every version of the gem since 2.0 makes it; which of them publishes here, a table does not tell.", t.Schema)
	}
	for _, columns := range []string{"(channel, id)", "(added_at)"} {
		if !slices.ContainsFunc(t.Indexes, func(index string) bool { return strings.Contains(index, columns) }) {
			r.warn(topic, "CREATE INDEX CONCURRENTLY ON message_bus "+columns, "The index on %s is missing: publishing and reading scan the table.", columns)
		}
	}
	if !slices.ContainsFunc(t.Indexes, func(index string) bool {
		return strings.HasPrefix(index, "CREATE UNIQUE") && strings.Contains(index, "(id)")
	}) {
		r.fail(topic, "ALTER TABLE message_bus ADD PRIMARY KEY (id)", "The primary key is missing: two messages may have one id.")
	}
	if t.Unlogged {
		r.warn(topic, "ALTER TABLE message_bus SET LOGGED", "The table is unlogged: after a crash it is empty, and a standby has nothing of it.")
	}
	if t.RowSecurity {
		r.warn(topic, "Exempt the bus's roles from it.", "Row security is on: this role may see a part of the messages only, and then misses others without being told.")
	}
	if t.Partitioned {
		r.note(topic, "The table is partitioned.")
	}
	if dead, rows := t.DeadRows, max(t.Estimate, 0); dead > 100_000 && dead > 10*rows {
		r.warn(topic, "Look for a long transaction or a replication slot that keeps vacuum from cleaning up.", "There are %d dead rows, and about %d living ones.", dead, rows)
	}
}

func judgeTableRights(r *Report, f *postgresFacts) {
	const topic = "rights"
	var missing []string
	for _, right := range []struct {
		name string
		has  bool
	}{{"SELECT", f.table.Select}, {"INSERT", f.table.Insert}, {"DELETE", f.table.Delete}, {"USAGE on message_bus_id_seq", f.table.Sequence}} {
		if !right.has {
			missing = append(missing, right.name)
		}
	}
	if len(missing) > 0 {
		r.fail(topic, "GRANT "+strings.Join(missing, ", ")+" to it.", "Role %s lacks %s.", f.server.Role, strings.Join(missing, ", "))
		return
	}
	r.ok(topic, "Role %s may do everything that a bus does.", f.server.Role)
}

func judgeOrder(r *Report, f *postgresFacts) {
	const topic = "trigger"
	if f.table.Ordered {
		r.ok(topic, "The ordering trigger is installed: Ruby publishers commit in the order of ids as well.")
	} else {
		r.note(topic, "The ordering trigger is not installed (pgbus.OrderingTrigger). With Go publishers alone nothing is missing; where Ruby publishes, messages may be committed out of order, and Go peers wait %s for such a hole.", 250*time.Millisecond)
	}
	if len(f.table.Triggers) > 0 {
		r.warn(topic, "Find out what they do, and how long they take.", "The table has triggers that are not the bus's: %s. Each publish waits for them.", named(f.table.Triggers))
	}
}

func judgeSequence(r *Report, f *postgresFacts) {
	const topic = "ids"
	last := int64(0)
	for _, c := range f.channels {
		last = max(last, c.Last)
	}
	switch given := f.table.Given; {
	case given < 0:
		r.skip("the sequence of ids, which takes USAGE or SELECT")
	case given < last:
		r.fail(topic, "SELECT setval('message_bus_id_seq', (SELECT max(id) FROM message_bus))",
			"The sequence is at %d and the table at %d, as after a restore: publishing fails until the sequence has passed it.", given, last)
	default:
		r.ok(topic, "The sequence is at %d, and no stored id is higher.", given)
	}
}

// judgeRows looks at how much is kept. Rows do not tell by whom they were trimmed; all
// that one configuration cannot do is to keep more than its own limits.
func judgeRows(r *Report, f *postgresFacts) {
	const topic, hour = "limits", 60 * 60
	if len(f.channels) == 0 {
		r.note(topic, "The table is empty.")
		return
	}
	largest := slices.MaxFunc(f.channels, func(a, b pgChannel) int { return cmp.Compare(a.Messages, b.Messages) })
	first, last, tooLong, biggest, oldest, youngest := largest.First, int64(0), int64(0), int64(0), 0.0, largest.Young
	var long []string
	for _, c := range f.channels {
		first, last, tooLong = min(first, c.First), max(last, c.Last), tooLong+c.TooLong
		biggest, oldest, youngest = max(biggest, c.Largest), max(oldest, c.Old), min(youngest, c.Young)
		if c.TooLong > 0 {
			long = append(long, c.Channel)
		}
	}
	switch {
	case largest.Messages > defaultSize:
		r.note(topic, "Channel %s keeps %d messages or more; the default limit is %d. Every publisher needs that limit: the smallest one deletes for everybody.",
			named([]string{largest.Channel}), largest.Messages, defaultSize)
	case last-first >= defaultGlobal:
		r.note(topic, "Stored ids span %d; the default max_global_backlog_size is %d. Every publisher needs that limit: the smallest one deletes for everybody.", last-first+1, defaultGlobal)
	default:
		r.ok(topic, "What is stored is within the default limits. What publishers with smaller ones have deleted does not show in a table.")
	}
	if oldest-youngest > defaultAge+hour {
		r.note(topic, "The oldest message was %s old when the newest came: some publisher has a max_backlog_age above the default of 7 days, or clear_every.", days(int64(oldest-youngest)))
	}
	if tooLong > 0 {
		r.warn("messages", "Publish them from Go, or make them smaller: a pointer to the data does.",
			"%s too long for a notice of 8000 bytes (%s): in Ruby their publish raises after they are stored, and Ruby subscribers see them in the backlog only. Go peers hear those that Go published.",
			counted(tooLong, "message is", "messages are"), named(long))
	}
}

func judgeEnvelopes(r *Report, f *postgresFacts) {
	found := troubles{}
	for _, c := range f.channels {
		if ambiguous(c.Channel) {
			found.add(Warning, "names", "Peers read a stored name in different ways", "Rename the channel or the site.", c.Channel)
		}
		found.ofEnvelope(c.Channel, sample{c.Newest, c.NewestSize})
	}
	found.tell(r)
	if len(found) == 0 && len(f.channels) > 0 {
		r.ok("messages", "The newest message of every channel that was looked into can be read.")
	}
}
