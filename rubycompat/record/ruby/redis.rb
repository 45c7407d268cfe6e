# frozen_string_literal: true

# A Redis server in a story. The first argument is its port.

require "socket"
require "uri"

# A connection that speaks the protocol by itself, so that it cannot be taken for one of
# the gem's.
class Wire
  attr_reader :address

  def initialize(port)
    @socket = TCPSocket.new("127.0.0.1", port)
    @address = "127.0.0.1:#{@socket.local_address.ip_port}"
  end

  def call(*args)
    send(*args)
    read
  end

  def send(*args)
    @socket.write("*#{args.length}\r\n" + args.map { |a| "$#{a.to_s.bytesize}\r\n#{a}\r\n" }.join)
  end

  def read
    line = @socket.gets("\r\n").chomp
    case line[0]
    when "+" then line[1..]
    when "-" then RuntimeError.new(line[1..])
    when ":" then line[1..].to_i
    when "$" then (size = line[1..].to_i) < 0 ? nil : @socket.read(size + 2)[0...-2].force_encoding("UTF-8")
    when "*" then Array.new([line[1..].to_i, 0].max) { read }
    end
  end
end

class RedisServer
  attr_reader :sees

  def initialize(port)
    @port = port
    @sees = %w[commands published]
    @control = Wire.new(port)
    @monitor = Wire.new(port)
    @monitor.call("MONITOR")
    @lines = Queue.new
    Thread.new { loop { @lines << @monitor.read } }
    @fences = 0
    @pending = []
  end

  def empty(script)
    @control.call("REPLICAOF", "NO", "ONE")
    @control.call("FLUSHALL")
    @control.call("SCRIPT", "FLUSH")
    @control.call("SCRIPT", "LOAD", script) if script
  end

  # As the gem's version takes it: settings of Redis stood among the bus's own before 4.4.
  def configuration(settings)
    redis = { url: "redis://127.0.0.1:#{@port}/#{settings["url_db"]}".chomp("/") }
    redis[:db] = settings["db"] if settings.key?("db")
    own = { backend: :redis }
    own[:backend_options] = { db: settings["backend_options_db"] } if settings.key?("backend_options_db")
    redis[:clear_every] = settings["clear_every"] if settings.key?("clear_every") && nested_redis_config? == false
    own[:clear_every] = settings["clear_every"] if settings.key?("clear_every") && nested_redis_config?
    nested_redis_config? ? own.merge(redis_config: redis) : own.merge(redis)
  end

  def clear
    drain
  end

  # The stories on Redis ask nothing of a subscription that broke.
  def heal; end

  SETUP = %w[HELLO CLIENT SELECT MONITOR PING COMMAND INFO].freeze

  # What the gem's connections did since the last time.
  def seen(step)
    wanted = %w[commands published].to_h { |kind| [kind, step[kind].to_a.length] }
    found = []
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + Story::PATIENCE
    loop do
      found += drain
      done = found.count { |c| !c["own"] } >= wanted["commands"] && found.count { |c| c["args"][0] == "PUBLISH" } >= wanted["published"]
      break if done || Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

      sleep 0.01
    end
    published = found.select { |c| c["args"][0] == "PUBLISH" }.map { |c| { "channel" => c["args"][1], "message" => c["args"][2] } }
    own = found.reject { |c| c.delete("own") }
    { "commands" => sort_deletions(own).map { |c| Values.spell(c) }, "published" => Values.spell(published) }
  end

  def outcome(step)
    case step["op"]
    when "redis" then { "returns" => redis(step) }
    when "keys" then { "keys" => keys(step["db"]) }
    when "server-readonly" then @control.call("REPLICAOF", "127.0.0.1", "1") && {}
    when "server-writable" then @control.call("REPLICAOF", "NO", "ONE") && {}
    else raise "the op #{step["op"]} is not known"
    end
  end

  private

  # Commands up to one of our own that is sent now.
  def drain
    fence = "fence-#{@fences += 1}"
    @control.call("ECHO", fence)
    found = []
    loop do
      line = @lines.pop
      command = parse(line)
      break if command["own"] && command["args"] == ["ECHO", fence]

      found << command unless command["own"] && command["args"][0] != "PUBLISH" || SETUP.include?(command["args"][0])
    end
    found
  end

  def parse(line)
    _, db, client, rest = line.match(/\A[\d.]+ \[(\d+) ([^\]]+)\] (.*)\z/m).to_a
    args = rest.scan(/"((?:[^"\\]|\\.)*)"/m).map { |(text)| unescape(text) }
    args[0] = args[0].upcase
    args[1] = { "script_sha1" => Digest::SHA1.hexdigest(args[1]) } if args[0] == "EVAL"
    { "by" => client == "lua" ? "script" : "client", "db" => db.to_i, "args" => args }.tap { |c| c["own"] = true if client == @control.address }
  end

  ESCAPES = { "n" => "\n", "r" => "\r", "t" => "\t", "a" => "\a", "b" => "\b" }.freeze

  def unescape(text)
    text.b.gsub(/\\(x[0-9a-f]{2}|.)/mn) { |m| m[1] == "x" && m.length == 4 ? [m[2, 2]].pack("H2") : ESCAPES.fetch(m[1], m[1]).b }.force_encoding("UTF-8")
  end

  def sort_deletions(commands)
    commands.chunk_while { |a, b| a["args"][0] == "DEL" && b["args"][0] == "DEL" }.flat_map { |run| run.length > 1 ? run.sort_by { |c| c["args"] } : run }
  end

  def redis(step)
    @control.call("SELECT", step["db"])
    answer = @control.call(*step["args"])
    @control.call("SELECT", 0)
    step["returns"].nil? ? nil : answer
  end

  def keys(db)
    @control.call("SELECT", db)
    @control.call("KEYS", "*").sort.map { |key| describe(key) }
  ensure
    @control.call("SELECT", 0)
  end

  def describe(key)
    type = @control.call("TYPE", key)
    ttl = @control.call("TTL", key)
    found = { "key" => key, "type" => type }
    if type == "zset"
      found["members"] = @control.call("ZRANGE", key, 0, -1, "WITHSCORES").each_slice(2).map { |member, score| [score.to_i, Values.spell(member)] }
    else
      found["value"] = Values.spell(@control.call("GET", key))
    end
    found.merge("ttl" => ttl < 0 ? -1 : (ttl / 10.0).ceil * 10)
  end
end

require "message_bus/backends/redis"

server = RedisServer.new(Integer(ARGV.fetch(0)))
backend = MessageBus::BACKENDS.fetch(:redis)
script = backend.const_defined?(:LUA_PUBLISH) ? backend::LUA_PUBLISH : nil # since 2.0.7
record_cases do |given|
  server.empty(script)
  Story.new(given, server).play
end
