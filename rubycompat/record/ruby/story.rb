# frozen_string_literal: true

# Plays a story, step by step, and notes what came of each.

# A logger that keeps the first line of each warning, until it is asked.
class Kept < Logger
  def initialize
    super(IO::NULL)
    @lines = []
  end

  def add(severity, message = nil, progname = nil)
    return true if severity < WARN

    text = (message || (block_given? ? yield : progname)).to_s
    @lines << "#{severity == WARN ? "WARN" : "ERROR"}: #{text.lines.first.to_s.split(" Call stack").first.chomp}"
    true
  end

  def take
    @lines.slice!(0..)
  end
end

# What listens in a story, and what it got.
class Heard
  attr_accessor :thread
  attr_reader :messages

  def initialize
    @messages = []
  end

  def <<(message)
    @messages << message
  end

  def take
    @messages.slice!(0..)
  end
end

class Story
  # How long something is waited for that may come or not.
  PATIENCE = 1.5

  def initialize(given, server)
    @given = given
    @server = server
    @heard = {}
    @log = Kept.new
    others = Logger.new(IO::NULL)
    @buses = given["buses"].each_with_index.to_h { |(name, settings), i| [name, open(settings, i.zero? ? @log : others)] }
  end

  def play
    steps = @given["steps"].map { |step| play_step(step) }
    @given.slice("name", "what", "buses").merge("steps" => steps)
  ensure
    finish
  end

  private

  OUTPUTS = %w[returns error commands statements published notified log messages keys rows schema queued_after].freeze

  def open(settings, logger)
    bus = MessageBus::Instance.new
    bus.configure(@server.configuration(settings).merge(logger: logger))
    site = settings["site_id_lookup"]
    bus.site_id_lookup { site } if site
    (settings["set"] || {}).each { |name, value| backend(bus).public_send("#{name}=", value) }
    hold_timers(bus)
    bus
  end

  def backend(bus)
    bus.respond_to?(:backend_instance) ? bus.backend_instance : bus.reliable_pub_sub
  end

  # Keeps the keepalive from running before the story says so.
  def hold_timers(bus)
    held = (@held ||= {}.compare_by_identity)[bus] = []
    bus.timer.define_singleton_method(:queue) { |delay = 0, &job| held << [delay, job] }
  end

  def play_step(step)
    @server.clear
    outcome = step_outcome(step)
    outcome.merge!(@server.seen(step)) if step.keys.any? { |k| @server.sees.include?(k) }
    # What breaks a subscription is told in the step after it.
    log = step["op"] == "redis" ? [] : settled(step["log"].to_a.length) { @log.take }
    outcome["log"] = log.map { |line| tidy(line) } unless log.empty?
    # What is published meanwhile is; what comes after that finds the subscription again.
    @server.heal if @broken
    @broken = !log.empty?
    step.reject { |k, _| OUTPUTS.include?(k) }.merge(outcome)
  end

  # Waits for as many as the recording has, and takes what there is.
  def settled(expected)
    found = yield
    deadline = now + PATIENCE
    while found.length < expected && now < deadline
      sleep 0.01
      found += yield
    end
    found
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def wait_until
    deadline = now + PATIENCE
    sleep 0.01 until yield || now > deadline
  end

  def tidy(text)
    text.gsub(/0x[0-9a-f]{16}/, "0x")
  end

  BUS = %w[backlog global_backlog last_id last_ids last_message destroy on off].freeze

  def step_outcome(step)
    bus = step["on"] ? @buses.fetch(step["on"]) : @buses.values.first
    args = Values.read(step["args"] || [])
    named = (step["named"] || {}).transform_keys(&:to_sym)
    case step["op"]
    when "publish" then Values.outcome { bus.publish(Values.read(step["channel"]), Values.read(step["data"]), options(step)) }
    when "fill" then fill(bus, step)
    when "received" then { "messages" => received(step) }
    when "subscribe", "local_subscribe", "backend.subscribe", "backend.global_subscribe" then subscribe(bus, step, args)
    when "listening" then listening(bus, step)
    when "subscription-ended" then { "returns" => !!heard(step).thread.join(PATIENCE) }
    when "queued" then { "messages" => queued(bus) }
    when "wait-flush" then wait_flush(bus)
    when "keepalive" then keepalive(bus, step)
    # What these return is by accident.
    when "reset!" then Values.outcome { bus.reset! && nil }
    when "backend.global_unsubscribe" then Values.outcome { backend(bus).global_unsubscribe && nil }
    when "backend.expire_all_backlogs!" then Values.outcome { backend(bus).expire_all_backlogs! && nil }
    when *BUS then Values.outcome { described(bus.public_send(step["op"], *args, **named)) }
    when /\Abackend\.(.+)/ then Values.outcome { raw(backend(bus).public_send($1, *args)) }
    else @server.outcome(step)
    end
  end

  def options(step)
    step["options"] && Values.read(step["options"]).transform_keys(&:to_sym)
  end

  def fill(bus, step)
    ids = (1..step["count"]).map { |n| bus.publish(step["channel"], n, options(step)) }
    { "returns" => [ids.first, ids.last] }
  end

  def described(value)
    case value
    when MessageBus::Message
      raw(value).merge("site_id" => value.site_id, "user_ids" => value.user_ids, "group_ids" => value.group_ids, "client_ids" => value.client_ids)
    when Array then value.map { |v| described(v) }
    when Hash, Integer, true, false, nil then value
    end
  end

  def raw(value)
    case value
    when MessageBus::Message
      { "global_id" => value.global_id, "message_id" => value.message_id, "channel" => value.channel, "data" => value.data }
    when Array then value.map { |v| raw(v) }
    when Integer, true, false, nil then value
    end
  end

  def heard(step)
    @heard[step["subscriber"]] ||= Heard.new
  end

  def subscribe(bus, step, args)
    into = heard(step)
    if step["op"].start_with?("backend.")
      method = step["op"].delete_prefix("backend.")
      into.thread = Thread.new { backend(bus).public_send(method, *args) { |m| into << raw(m) } }
    else
      answer = Values.outcome { bus.public_send(step["op"], *args) { |m| into << described(m) } && nil }
      return answer if answer["error"]
    end
    wait_until { backend(bus).subscribed || into.thread && !into.thread.alive? }
    { "returns" => nil }
  end

  def received(step)
    sleep 0.2 if step["messages"].empty? # what should not come has the time to
    settled(step["messages"].length) { heard(step).take }.map { |m| Values.spell(m) }
  end

  def listening(bus, step)
    wait_until { !!bus.listening? == step["returns"] }
    { "returns" => !!bus.listening? }
  end

  def queued(bus)
    backend(bus).instance_variable_get(:@in_memory_backlog).map { |channel, data| { "stored_channel" => channel, "envelope" => data } }
  end

  def wait_flush(bus)
    20.times do
      wait_until { queued(bus).empty? && backend(bus).instance_variable_get(:@flush_backlog_thread).nil? }
      break if queued(bus).empty?
    end
    { "returns" => nil }
  end

  def keepalive(bus, step)
    bus.keepalive_interval = step["keepalive_interval"] if step["keepalive_interval"]
    delay, job = @held[bus].shift unless step["keepalive_interval"]
    return { "queued_after" => nil } unless job

    Values.outcome { job.call && nil }.merge("queued_after" => delay)
  end

  def finish
    @buses.each_value do |bus|
      bus.destroy
    rescue StandardError
      nil # a story may have destroyed it
    end
    @heard.each_value { |h| h.thread&.kill }
  end
end
