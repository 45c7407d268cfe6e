package rubycompat_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

const postgresRecording = "postgres.json"

// TestGoldenPostgres replays the recorded stories, each in a database of its own.
func TestGoldenPostgres(t *testing.T) {
	t.Parallel()
	replayStories(t, postgresRecording, true, newPostgresServer)
}

type postgresServer struct {
	t      *testing.T
	url    string
	watch  *pgx.Conn
	speak  *pgx.Conn
	fences int
	large  int // notices of messages that are too large for one
}

func newPostgresServer(t *testing.T, story *story) server {
	t.Helper()
	s := &postgresServer{t: t, url: stores.PostgresShared(t)}
	s.watch, s.speak = s.connect(), s.connect()
	s.listen(fenceChannel)
	heard := []string{}
	for _, b := range story.buses {
		name := "_message_bus_" + orDefault(text(b.value("db")), "0")
		if !slices.Contains(heard, name) {
			heard = append(heard, name)
			s.listen(name)
			s.listen(name + largeSuffix)
		}
	}
	return s
}

// largeSuffix ends the channel on which Go peers tell each other of messages that
// are too large for a notice. Ruby peers do not hear it.
const largeSuffix = "_id"

// connect makes a connection that the recordings know as the recorder's own.
func (s *postgresServer) connect() *pgx.Conn {
	config, err := pgx.ParseConfig(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = "recorder"
	conn, err := pgx.ConnectConfig(s.t.Context(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (s *postgresServer) listen(channel string) {
	if _, err := s.watch.Exec(s.t.Context(), "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *postgresServer) open(settings busSettings) (peer driver.Backend, reason string) {
	if settings.value("backend_options_db") != nil {
		return nil, "a db in backend_options"
	}
	pool, err := pgxpool.New(s.t.Context(), s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(pool.Close)
	b, err := pgbus.New(pool, &pgbus.Options{DB: text(settings.value("db"))})
	if err != nil {
		s.t.Fatal(err)
	}
	return b, ""
}

// announced reads up to a notice that it sends itself.
func (s *postgresServer) announced() object {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	s.fences++
	fence := strconv.Itoa(s.fences)
	if _, err := s.speak.Exec(ctx, "SELECT pg_notify($1, $2)", fenceChannel, fence); err != nil {
		s.t.Fatal(err)
	}
	notified := []any{}
	for {
		n, err := s.watch.WaitForNotification(ctx)
		switch {
		case err != nil:
			s.t.Fatalf("watch what is notified: %v", err)
		case n.Channel == fenceChannel && n.Payload == fence:
			return object{"notified": notified}
		case n.Channel == fenceChannel:
		case strings.HasSuffix(n.Channel, largeSuffix):
			s.large++
		default:
			notified = append(notified, object{"channel": n.Channel, "payload": n.Payload})
		}
	}
}

func (s *postgresServer) do(op string, in members) (outcome object, known bool) {
	switch op {
	case "sql":
		s.script(in.text("sql"))
		return object{}, true
	case "rows":
		return object{"rows": s.rows()}, true
	case "schema":
		return object{"schema": s.schema()}, true
	default:
		return nil, false
	}
}

// script runs statements on a connection of their own, whose settings end with it.
func (s *postgresServer) script(statements string) {
	conn := s.connect()
	defer conn.Close(context.Background())
	statements = strings.ReplaceAll(statements, "<database>", conn.Config().Database)
	if _, err := conn.PgConn().Exec(s.t.Context(), statements).ReadAll(); err != nil {
		s.t.Fatalf("%s: %v", statements, err)
	}
}

func (s *postgresServer) rows() any {
	rows, err := s.query("SELECT id, channel, value FROM message_bus ORDER BY id")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42P01" { // there is no such table
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// query returns rows as objects.
func (s *postgresServer) query(statement string) ([]any, error) {
	found, err := s.speak.Query(s.t.Context(), statement)
	if err != nil {
		return nil, err
	}
	rows := []any{}
	maps, err := pgx.CollectRows(found, pgx.RowToMap)
	for _, row := range maps {
		for name, v := range row {
			row[name] = asJSON(v)
		}
		rows = append(rows, row)
	}
	return rows, err
}

func asJSON(v any) any {
	switch v := v.(type) {
	case int64:
		return number(v)
	case nil, string:
		return v
	case rune: // "char"
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// schema describes the table as the recording does.
func (s *postgresServer) schema() object {
	schema := object{}
	for name, statement := range map[string]string{
		"columns": `SELECT column_name, data_type, udt_name, is_nullable, column_default
			FROM information_schema.columns WHERE table_name = 'message_bus' ORDER BY ordinal_position`,
		"indexes": `SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'message_bus' ORDER BY indexname`,
		"constraints": `SELECT conname, contype::text, pg_get_constraintdef(oid) AS def
			FROM pg_constraint WHERE conrelid = 'message_bus'::regclass ORDER BY conname`,
		"sequences": `SELECT sequence_name, data_type, start_value, minimum_value, maximum_value, increment, cycle_option
			FROM information_schema.sequences ORDER BY sequence_name`,
		"table": `SELECT relkind::text, relpersistence::text FROM pg_class WHERE oid = 'message_bus'::regclass`,
		"owned": `SELECT pg_get_serial_sequence('message_bus', 'id') AS name`,
	} {
		rows, err := s.query(statement)
		if err != nil {
			s.t.Fatal(err)
		}
		schema[name] = rows
	}
	schema["table"] = schema["table"].([]any)[0]
	schema["owned_sequence"] = schema["owned"].([]any)[0].(object)["name"]
	delete(schema, "owned")
	return schema
}
