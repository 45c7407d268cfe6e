# frozen_string_literal: true

# A Postgres server in a story. The first argument is the URL of a database of its own.

require "pg"
require "socket"

# Stands between the gem and the server, and notes what either says to the other that a
# recording looks at.
class Proxy
  attr_reader :port

  def initialize(host, port, &note)
    @to = [host, port]
    @note = note
    @listener = TCPServer.new("127.0.0.1", 0)
    @port = @listener.local_address.ip_port
    @sockets = [@listener]
    Thread.new { loop { join(@listener.accept) } }.report_on_exception = false
  end

  # Ends every connection, and takes no further one.
  def close
    @sockets.each(&:close)
  end

  private

  def join(client)
    server = TCPSocket.new(*@to)
    @sockets.push(client, server)
    [client, server].each { |socket| socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, true) }
    session = Session.new(@note)
    pass(client, server, session.method(:said))
    pass(server, client, session.method(:answered), started: true)
  end

  # The first message of a client has no type.
  def pass(from, to, noting, started: false)
    Thread.new do
      loop do
        type = started ? read(from, 1) : ""
        length = read(from, 4)
        body = read(from, length.unpack1("N") - 4)
        noting.call(type, body) if started
        to.write(type + length + body)
        started = true
      end
    rescue IOError, SystemCallError
      to.close unless to.closed?
    end
  end

  def read(socket, bytes)
    bytes.zero? ? "" : socket.read(bytes).then { |got| got&.bytesize == bytes ? got : raise(EOFError) }
  end
end

# What a connection has prepared and is doing.
class Session
  def initialize(note)
    @note = note
    @prepared = {}
    @running = nil
    @over = false
  end

  # What is said on a connection that the server has ended does not reach it.
  def said(type, body)
    return if @over

    case type
    when "Q" then query(body.chomp("\0").force_encoding("UTF-8"))
    when "P" then body.unpack("Z*Z*").then { |name, sql| @prepared[name] = sql.force_encoding("UTF-8") }
    when "B" then execute(body)
    end
  end

  # An error of a prepared statement is what the step raised.
  def answered(type, body)
    case type
    when "Z" then @running = nil
    when "E"
      fields = body.split("\0").to_h { |field| [field[0], field[1..].force_encoding("UTF-8")] }
      @over = fields["S"] == "FATAL"
      @note.call({ (@over ? "fatal" : "error") => fields["M"], "sqlstate" => fields["C"], "of" => @running }) if @over || @running
    end
  end

  private

  def query(sql)
    @running = sql
    @prepared[$1] = sql if sql =~ /\APREPARE (\w+) /
    @note.call({ "sql" => sql })
  end

  def execute(body)
    _, name, formats, rest = body.unpack("Z*Z*na*")
    count, rest = rest[(2 * formats)..].unpack("na*")
    parameters = Array.new(count) do
      length, rest = rest.unpack("l>a*")
      length.negative? ? nil : rest.slice!(0, length).force_encoding("UTF-8")
    end
    note = name.empty? ? { "sql" => @prepared[name] } : { "execute" => name, "prepared" => @prepared[name] }
    @note.call(parameters.empty? ? note : note.merge("parameters" => parameters))
  end
end

class PostgresServer
  def initialize(url)
    @url = url
    @control = connect
    @watch = connect
    @database = @control.conninfo_hash
  end

  # Begins anew for a story, through a proxy of its own: what is left of the story before
  # does not find it.
  def empty(given)
    @proxy&.close
    @control.exec("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'recorder'")
    @control.exec("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    @statements = Queue.new
    @listens = 0
    @proxy = Proxy.new(@control.host, @control.port, &method(:note))
    @whole = given["steps"].any? { |step| step["statements"].to_a.any? { |s| s.key?("prepared") } }
    listen(given["buses"].each_value.map { |settings| "_message_bus_#{settings["db"] || 0}" })
  end

  def configuration(settings)
    options = { host: "127.0.0.1", port: @proxy.port, dbname: @database[:dbname], user: @database[:user], password: @database[:password] }.compact
    options[:db] = settings["backend_options_db"] if settings.key?("backend_options_db")
    own = { backend: :postgres, backend_options: options }
    own[:db] = settings["db"] if settings.key?("db")
    own[:clear_every] = settings["clear_every"] if settings.key?("clear_every")
    own
  end

  def sees
    %w[statements notified]
  end

  def clear
    notified
    @statements.clear
  end

  # Waits until each that has listened does so again, and has read what it missed.
  def heal
    before = @listens # the gem waits a second
    finish = now + 3 * Story::PATIENCE
    sleep 0.01 until @listens >= 2 * before || now > finish
    sleep 0.1
  end

  # What the gem's connections did since the last time.
  def seen(step)
    found = []
    deadline = now + Story::PATIENCE
    loop do
      found << @statements.pop until @statements.empty?
      found.select! { |s| shown?(s) }
      break if found.length >= step["statements"].to_a.length || now > deadline

      sleep 0.01
    end
    found.each { |s| s.delete("prepared") } unless @whole
    { "statements" => found.map { |s| Values.spell(s) }, "notified" => notified }.reject { |kind, list| list.empty? && !step.key?(kind) }
  end

  def outcome(step)
    case step["op"]
    when "sql" then sql(step)
    when "rows" then { "rows" => rows }
    when "schema" then { "schema" => schema }
    else raise "the op #{step["op"]} is not known"
    end
  end

  private

  FENCE = "fence"

  def note(statement)
    @listens += 1 if statement["sql"].to_s.start_with?("LISTEN ")
    @statements << statement
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # A connection that cannot be taken for one of the gem's.
  def connect
    PG.connect(@url, application_name: "recorder").tap do |connection|
      connection.set_notice_receiver { nil }
      connection.type_map_for_results = PG::BasicTypeMapForResults.new(connection)
    end
  end

  def listen(channels)
    @watch.exec("UNLISTEN *")
    [FENCE, *channels].uniq.each { |channel| @watch.exec("LISTEN #{PG::Connection.quote_ident(channel)}") }
  end

  # Notices up to one of our own that is sent now.
  def notified
    @control.exec("NOTIFY #{FENCE}")
    found = []
    loop do
      @watch.wait_for_notify do |channel, _, payload|
        return found if channel == FENCE

        found << { "channel" => channel, "payload" => Values.spell(payload) }
      end
    end
  end

  # The preparations of a connection are shown in a few stories only.
  PREPARATION = /\A(?:PREPARE |CREATE (?:TABLE|INDEX) |SELECT 'message_bus'::regclass)/

  def shown?(statement)
    @whole || (statement["sql"] || statement["of"]).to_s !~ PREPARATION
  end

  # Settings of the session end with it.
  def sql(step)
    connection = connect
    connection.exec(step["sql"].gsub("<database>", @database[:dbname]))
    { "returns" => nil }
  ensure
    connection&.close
  end

  def query(sql)
    @control.exec(sql).map { |row| row.transform_values { |v| Values.spell(v) } }
  end

  def rows
    query("SELECT id, channel, value FROM message_bus ORDER BY id")
  rescue PG::UndefinedTable
    nil
  end

  def schema
    {
      "columns" => query("SELECT column_name, data_type, udt_name, is_nullable, column_default FROM information_schema.columns WHERE table_name = 'message_bus' ORDER BY ordinal_position"),
      "indexes" => query("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'message_bus' ORDER BY indexname"),
      "constraints" => query("SELECT conname, contype, pg_get_constraintdef(oid) AS def FROM pg_constraint WHERE conrelid = 'message_bus'::regclass ORDER BY conname"),
      "sequences" => query("SELECT sequence_name, data_type, start_value, minimum_value, maximum_value, increment, cycle_option FROM information_schema.sequences ORDER BY sequence_name"),
      "table" => query("SELECT relkind, relpersistence FROM pg_class WHERE oid = 'message_bus'::regclass").first,
      "owned_sequence" => query("SELECT pg_get_serial_sequence('message_bus', 'id') AS name").first["name"],
    }
  end
end

# The proxy reads what is not encrypted.
ENV.update("PGSSLMODE" => "disable", "PGGSSENCMODE" => "disable")

require "message_bus/backends/postgres"

server = PostgresServer.new(ARGV.fetch(0))
record_cases do |given|
  server.empty(given)
  Story.new(given, server).play
end
