# frozen_string_literal: true

# A web server with the gem's middleware, a client of it, and what passed between them. The
# first argument is the port of a Redis server, which has nothing else to do.

require "puma"
require "puma/server"
require "rack"

# A logger that counts the messages which the gem gives up.
class GivenUp < Logger
  attr_reader :count

  def initialize
    super(IO::NULL)
    @count = 0
  end

  def add(severity, message = nil, progname = nil)
    @count += 1 if severity == WARN && (message || progname).to_s.start_with?("failed to process message")
    true
  end
end

# The application that a case is about.
class Application
  attr_reader :hooks

  def initialize(config, port, db)
    @config = config
    @redis = { host: "127.0.0.1", port: port, db: db }
    @hooks = Queue.new
    @log = GivenUp.new
    @bus = open(@log)
    @publisher = open(Logger.new(IO::NULL))
    set_up
    serve
  end

  def port
    @server.connected_ports.first
  end

  # Returns when the listener has handed on what there is.
  def prepare(messages)
    messages.each { |message| publish(message) }
    await { @heard + @log.count >= messages.length }
    passed = false
    @bus.timer.queue { passed = true }
    await { passed }
  end

  def publish(message)
    if message["stored_channel"]
      backend(@publisher).publish(message["stored_channel"], WireText.read(message["envelope"]))
    else
      @publisher.publish(message["channel"], WireText.read(message["data"]), (message["opts"] || {}).transform_keys(&:to_sym))
    end
  end

  def close
    @server&.halt(true)
    [@bus, @publisher].each(&:destroy)
  end

  private

  def await
    finish = Clock.now + 3
    sleep 0.002 until yield || Clock.now > finish
  end

  def backend(bus)
    bus.respond_to?(:backend_instance) ? bus.backend_instance : bus.reliable_pub_sub
  end

  def open(logger)
    MessageBus::Instance.new.tap do |bus|
      bus.configure({ backend: :redis, logger: logger, keepalive_interval: 0 }.merge(nested_redis_config? ? { redis_config: @redis } : @redis))
    end
  end

  def note(text)
    @hooks << text
  end

  SETTINGS = {
    "long_polling_enabled" => :long_polling_enabled=, "long_polling_interval_ms" => :long_polling_interval=,
    "chunked_encoding_enabled" => :chunked_encoding_enabled=, "max_active_clients" => :max_active_clients=,
    "base_route" => :base_route=, "allow_broadcast" => :allow_broadcast=,
  }.freeze

  def set_up
    SETTINGS.each { |name, setter| @bus.public_send(setter, @config[name]) if @config.key?(name) }
    %w[user_id group_ids site_id].each { |name| look_up(name) }
    set_up_headers
    set_up_errors
    (@config["filters"] || []).each { |filter| set_up_filter(filter) }
  end

  def look_up(name)
    header = @config["#{name}_header"]
    hook = "#{name}_lookup"
    return unless @config.key?(name) || header || @config["raise_in"] == hook

    @bus.public_send(hook) do |env = nil|
      note(env ? hook : "#{hook} without a request")
      raise "the lookup failed" if @config["raise_in"] == hook
      next @config[name] unless header

      value = env && env["HTTP_#{header.upcase.tr("-", "_")}"]
      value && name != "site_id" ? JSON.parse(value) : value
    end
  end

  def set_up_headers
    hook = "extra_response_headers_lookup"
    return unless @config.key?("extra_headers") || @config["raise_in"] == hook

    @bus.extra_response_headers_lookup do |_env|
      note(hook)
      raise "the lookup failed" if @config["raise_in"] == hook

      @config["extra_headers"]
    end
  end

  def set_up_errors
    return unless @config.key?("on_middleware_error")

    @bus.on_middleware_error do |_env, error|
      note("on_middleware_error #{error.class}")
      @config["on_middleware_error"]&.map(&:dup)
    end
  end

  def set_up_filter(filter)
    @bus.register_client_message_filter(filter["prefix"]) do |message|
      note("filter #{filter["label"] || filter["prefix"]} on #{message.channel} #{JSON.generate(message.data)}")
      raise "the filter failed" if filter.key?("raise_if_data") && filter["raise_if_data"] == message.data

      if filter["refuse_if_data"] then !filter["refuse_if_data"].include?(message.data)
      elsif filter["allow_if_data"] then filter["allow_if_data"].include?(message.data)
      else filter.fetch("allow", true)
      end
    end
  end

  def serve
    application = lambda do |env|
      [200, { "content-type" => "text/plain" }, ["the application got #{env["REQUEST_METHOD"]} #{env["REQUEST_PATH"]}"]]
    end
    middleware = MessageBus::Rack::Middleware.new(application, message_bus: @bus)
    @heard = 0
    @bus.subscribe { @heard += 1 } # behind the middleware
    await { backend(@bus).subscribed }
    events = Puma::Events.strings if Puma::Events.respond_to?(:strings) # until Puma 6
    @server = Puma::Server.new(->(env) { middleware.call(complete(env)) }, events, { environment: "production" })
    @server.add_tcp_listener("127.0.0.1", 0)
    @server.run
  end

  # Puma 5 says of every request that it is HTTP/1.1.
  def complete(env)
    env["SERVER_PROTOCOL"] = @config["puma5_server_protocol"] ? "HTTP/1.1" : env["HTTP_VERSION"] || env["SERVER_PROTOCOL"]
    env.merge!(@config["env"] || {})
  end
end

# Plays a case.
class Exchange
  # Events that are less apart count as the last of them.
  BURST = 0.06

  ONE = "it"

  def initialize(given, application)
    @given = given
    @application = application
    @hold = (given["config"]["long_polling_interval_ms"] || 25_000) / 1000.0
    @connections = {}
  end

  def play
    @application.prepare(@given["before"])
    began = Clock.now
    @events = steps.map do |step|
      at = began + step["at_ms"] / 1000.0
      sleep [at - Clock.now, 0].max
      take(step)
    end
    @connections.each_value { |connection| connection.wait unless connection.cut? }
    outcome.merge("hooks" => Array.new(@application.hooks.size) { @application.hooks.pop })
  end

  private

  # Those of a case with one connection as well.
  def steps
    @steps ||= @given["steps"] || [{ "at_ms" => 0, "open" => ONE, "request" => @given["request"] }] +
      @given["during"].map { |during| { "at_ms" => during["after_ms"], "publish" => during["publish"] } }
  end

  # Returns when an event was, the opening of a connection being its own time.
  def take(step)
    at = Clock.now
    if step["open"]
      @connections[step["open"]] = Connection.new(@application.port, step["request"])
      at = @connections[step["open"]].opened
    elsif step["publish"] then @application.publish(step["publish"])
    else @connections.fetch(step["disconnect"]).cut
    end
    at
  end

  def outcome
    answers = @connections.transform_values { |connection| answer(connection) }
    @given["steps"] ? { "responses" => answers } : { "response" => answers[ONE] }
  end

  def answer(connection)
    connection.describe { |at| came(connection, at) }.merge("duration_class" => duration(connection))
  end

  # The last event before a moment; nil: the interval was over.
  def cause(connection, at)
    return if at - connection.opened >= @hold - 0.02

    last = @events.rindex { |event| event <= at }
    return last if @events[last] == connection.opened || at - connection.opened < BURST

    last += 1 while last + 1 < steps.length && (steps[last + 1]["at_ms"] - steps[last]["at_ms"]) / 1000.0 < BURST
    last
  end

  def at_once?(connection, at)
    at - connection.opened < BURST || @events[cause(connection, at)] == connection.opened
  end

  def came(connection, at)
    event = cause(connection, at)
    return "at timeout" unless event

    at_once?(connection, at) ? "at once" : "after event #{event}"
  end

  def duration(connection)
    return "cut by the client" if connection.cut?

    at = connection.complete
    event = cause(connection, at)
    return "held until timeout" unless event
    return "at once" if at_once?(connection, at)

    steps[event]["open"] ? "held until replaced" : "held until message"
  end
end

port = Integer(ARGV.fetch(0))
databases = Queue.new
(0..15).each { |db| databases << db }

record_cases(at_once: 8) do |given|
  db = databases.pop
  Redis.new(host: "127.0.0.1", port: port, db: db).tap(&:flushdb).close
  application = Application.new(given["config"], port, db)
  given.reject { |name, _| %w[response responses hooks].include?(name) }.merge(Exchange.new(given, application).play)
ensure
  application&.close
  databases << db
end
