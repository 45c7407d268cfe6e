package integration_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// doctoredPostgres is a bus on a database.
func doctoredPostgres(t *testing.T, address string, opts *bus.Options) *bus.Bus {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	backend, err := pgbus.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	if opts == nil {
		opts = &bus.Options{}
	}
	opts.Keepalive = -1
	b, err := bus.New(backend, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// databaseOf is the database that a URL names.
func databaseOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// TestDoctor_Postgres has one server for all, as a server takes a while to start.
func TestDoctor_Postgres(t *testing.T) {
	t.Parallel()
	server := stores.Postgres(t)
	for name, test := range map[string]func(*testing.T, *stores.PostgresServer){
		"is well": doctorOfAWellOne, "tables that do not fit": doctorOfOddTables,
		"without rights": doctorWithoutRights, "behind a pooler": doctorBehindAPooler,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, server)
		})
	}
}

func doctorOfAWellOne(t *testing.T, server *stores.PostgresServer) {
	t.Helper()
	address := server.NewDatabase(t)
	database := databaseOf(t, address)
	d := diagnose(t, address)
	d.wants(t, "note", "table", "There is no table message_bus")
	d.wantsNothingWorse(t)

	b := doctoredPostgres(t, address, nil)
	publishTo(t, b, "/chat", 3)
	publishTo(t, b.Site("eu"), "/chat", 2)
	listen(t, b)
	d = diagnose(t, address)
	d.wantsNothingWorse(t)
	d.hides(t, "topsecret")
	d.wants(t, "ok", "listen", "1 session listens to _message_bus_0")
	d.wants(t, "ok", "table", "public.message_bus is as every version of the gem since 2.0 makes it")
	d.wants(t, "ok", "rights", "may do everything")
	d.wants(t, "ok", "ids", "The sequence is at 5")
	d.wants(t, "ok", "messages", "can be read")
	d.wants(t, "note", "trigger", "is not installed")
	if len(d.channels) != 2 || d.channels[0].Messages != 3 || d.channels[1].Site != "eu" || d.channels[1].FirstID != 4 || d.channels[1].LastID != 5 {
		t.Errorf("channels: %+v", d.channels)
	}
	server.Exec(t, database, pgbus.OrderingTrigger())
	diagnose(t, address).wants(t, "ok", "trigger", "is installed")
	diagnose(t, address+"&pubsub_db=3").wants(t, "error", "listen", "Nobody listens to _message_bus_3, and others listen to _message_bus_0")

	// A standby takes no writes: what works there has written nothing.
	standby := server.Standby(t)
	server.AwaitStandby(t, standby)
	diagnose(t, address).wants(t, "note", "replication", "1 standby")
	d = diagnose(t, standby.URL(database))
	d.wants(t, "error", "replication", "It is a standby")
	if len(d.channels) != 2 || len(d.notLookedAt) != 0 {
		t.Errorf("of the standby: channels %+v, not looked at %q", d.channels, d.notLookedAt)
	}
}

func doctorOfOddTables(t *testing.T, server *stores.PostgresServer) {
	t.Helper()
	for _, test := range []struct {
		name, sql, severity, topic, says string
	}{
		{"another table", "CREATE TABLE message_bus (id int, body json)", "error", "table", "another table than the bus's: id integer, body json"},
		{"a view", "CREATE VIEW message_bus AS SELECT 1 AS id", "error", "table", "another table"},
		{"no indexes", "SCHEMA; DROP INDEX table_channel_id_index", "warning", "table", "The index on (channel, id) is missing"},
		{"no key", "SCHEMA; ALTER TABLE message_bus DROP CONSTRAINT message_bus_pkey", "error", "table", "The primary key is missing"},
		{"unlogged", "SCHEMA; ALTER TABLE message_bus SET UNLOGGED", "warning", "table", "unlogged"},
		{"more columns", "SCHEMA; ALTER TABLE message_bus ADD COLUMN tenant int", "note", "table", "further columns: tenant integer"},
		{"restored", "SCHEMA; INSERT INTO message_bus (id, channel, value) VALUES (70, '/a', '{}')", "error", "ids", "The sequence is at 0 and the table at 70"},
		{"a trigger", "SCHEMA; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER audit BEFORE INSERT ON message_bus FOR EACH ROW EXECUTE FUNCTION f()", "warning", "trigger", "not the bus's: audit."},
		{"of the future", "SCHEMA; INSERT INTO message_bus (channel, value, added_at) VALUES ('/a', '{}', localtimestamp + interval '2 hours')", "warning", "time zone", "1 row is of the future"},
		{"back in time", "SCHEMA; INSERT INTO message_bus (channel, value, added_at) VALUES ('/a', '{}', localtimestamp - interval '1 hours'), ('/b', '{}', localtimestamp - interval '3 hours')", "warning", "time zone", "Time goes back between stored messages, 1 time"},
		{"no notice holds it", `SCHEMA; INSERT INTO message_bus (channel, value) VALUES ('/a', '{"data":"' || repeat('x', 9000) || '"}')`, "warning", "messages", "1 message is too long for a notice of 8000 bytes (/a)"},
		{"not JSON", `SCHEMA; INSERT INTO message_bus (channel, value) VALUES ('/a', 'topsecret')`, "error", "messages", "is not JSON; the gem answers 500 for the whole channel, Go passes it: /a."},
		{"Oj", `SCHEMA; INSERT INTO message_bus (channel, value) VALUES ('/a', '{":data":"topsecret"}')`, "error", "messages", "Oj in a mode of its own"},
		{"a name", `SCHEMA; INSERT INTO message_bus (channel, value) VALUES ('/a$$123$$', '{}')`, "warning", "names", "in different ways: /a$$123$$."},
		{"large limit", `SCHEMA; INSERT INTO message_bus (channel, value) SELECT '/a', '{}' FROM generate_series(1, 1500)`, "note", "limits", "/a keeps 1500 messages or more"},
		{"many", `SCHEMA; INSERT INTO message_bus (channel, value) SELECT '/a' || n % 3000, '{}' FROM generate_series(1, 25000) AS n`, "note", "limits", "Stored ids span 20000"},
		{"huge", `SCHEMA; INSERT INTO message_bus (channel, value) VALUES ('/a', '{"data":"' || repeat('xxxxxxxxxx', 5000000) || '"}')`, "warning", "messages", "too long for a notice"},
		{"read-only", "SCHEMA; DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET default_transaction_read_only = on'; END $$", "error", "server", "read-only by default"},
		{"zone", "SCHEMA; DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET TimeZone = ''Asia/Tokyo'''; END $$", "note", "time zone", "TimeZone=Asia/Tokyo"},
		{"isolation", "SCHEMA; DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET default_transaction_isolation = serializable'; END $$", "warning", "server", "serializable by default"},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := server.NewDatabase(t)
			server.Exec(t, databaseOf(t, address), strings.Replace(test.sql, "SCHEMA;", pgbus.Schema(), 1))
			d := diagnose(t, address)
			d.wants(t, test.severity, test.topic, test.says)
			d.hides(t, "topsecret", "xxxxxx")
			if test.name == "many" {
				d.wantsSkipped(t, "rows before the newest 20000")
				d.wantsSkipped(t, "channels beyond the 2000 largest")
			}
		})
	}
}

func doctorWithoutRights(t *testing.T, server *stores.PostgresServer) {
	t.Helper()
	database := databaseOf(t, server.NewDatabase(t))
	server.Exec(t, database, "CREATE ROLE guest LOGIN PASSWORD 'hunter2'")
	as := func(role string) string {
		u, err := url.Parse(server.URL(database))
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(role, "hunter2")
		return u.String()
	}
	server.Exec(t, database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	d := diagnose(t, as("guest"))
	d.wants(t, "error", "table", "role guest may not create it")

	b := doctoredPostgres(t, server.URL(database), nil)
	publishTo(t, b, "/chat", 1)
	listen(t, b)
	d = diagnose(t, as("guest"))
	d.wants(t, "error", "rights", "Role guest lacks SELECT, INSERT, DELETE, USAGE on message_bus_id_seq.")
	d.wantsSkipped(t, "ids, backlogs and messages: permission denied")
	d.hides(t, "hunter2", "topsecret")

	server.Exec(t, database, "GRANT SELECT, INSERT, DELETE ON message_bus TO guest; GRANT USAGE ON message_bus_id_seq TO guest")
	d = diagnose(t, as("guest"))
	d.wants(t, "ok", "rights", "may do everything")
	d.wants(t, "note", "listen", "cannot be seen (pg_read_all_stats)")

	server.Exec(t, database, "ALTER TABLE message_bus ENABLE ROW LEVEL SECURITY")
	diagnose(t, as("guest")).wants(t, "warning", "table", "Row security is on")
}

func doctorBehindAPooler(t *testing.T, server *stores.PostgresServer) {
	t.Helper()
	database := databaseOf(t, server.NewDatabase(t))
	d := diagnose(t, stores.PgBouncer(t, server).URL(database))
	d.wants(t, "warning", "pooler", "A pooler such as PgBouncer is in between")
}
