# frozen_string_literal: true

# The distributed cache: what it publishes, what it takes, and what it makes of values. The
# first argument is the port of a Redis server, which has nothing else to do.

require "message_bus/distributed_cache"

# A logger that keeps the warnings, and counts the messages which the gem gives up.
class Warnings < Logger
  attr_reader :all, :given_up

  def initialize
    super(IO::NULL)
    @all = []
    @given_up = 0
  end

  def add(severity, message = nil, progname = nil)
    text = (message || progname).to_s.dup.force_encoding("UTF-8")
    return true if severity < WARN

    _, what, error = text.match(/\A(failed to deliver message, skipping|failed to process message) .*\n ex: (.*) backtrace: /m).to_a
    @all << { "level" => severity == WARN ? "WARN" : "ERROR", "message" => what || text, "error" => error&.lines&.first&.chomp }
    @given_up += 1 if what == "failed to process message"
    true
  end
end

# A process with caches.
class CacheProcess
  attr_reader :bus, :published

  def initialize(port, site, settings)
    @log = Warnings.new
    @bus = MessageBus::Instance.new
    redis = { host: "127.0.0.1", port: port }
    @bus.configure({ backend: :redis, logger: @log, keepalive_interval: 0 }.merge(nested_redis_config? ? { redis_config: redis } : redis))
    @bus.site_id_lookup { site == "nil" ? nil : site } if site
    @manager = manager(settings["queue_in_memory"] != false)
    @published = []
    note_published
  end

  def cache(name, settings)
    version = { app_version: settings["app_version"] } if settings["app_version"]
    MessageBus::DistributedCache.new(name, manager: @manager, namespace: settings.fetch("namespace", true), **version.to_h)
  end

  # Counts what is handed on, from behind the caches.
  def listen
    @heard = 0
    @bus.subscribe("/distributed_hash") { @heard += 1 }
    finish = now + 3
    sleep 0.002 until backend.subscribed || now > finish
  end

  # Returns when so many messages were handed on or given up.
  def await(count)
    finish = now + 3
    sleep 0.001 until @heard + @log.given_up >= count || now > finish
  end

  def log
    @log.all.slice!(0..)
  end

  def put(channel, data)
    backend.publish(channel, data)
  end

  def close
    @bus.destroy
  end

  private

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def manager(queues)
    kind = MessageBus::DistributedCache::Manager
    return kind.new(@bus) if queues

    NoParameterError.check(kind.instance_method(:initialize), :publish_queue_in_memory)
    kind.new(@bus, publish_queue_in_memory: false)
  end

  def backend
    @bus.respond_to?(:backend_instance) ? @bus.backend_instance : @bus.reliable_pub_sub
  end

  def note_published
    published = @published
    backend.singleton_class.prepend(Module.new do
      define_method(:publish) do |channel, data, options = nil|
        published << { "channel" => channel, "data" => data.dup, "options" => options.to_h.compact.transform_keys(&:to_s) }
        super(channel, data, options)
      end
    end)
  end
end

class CacheRecorder
  def initialize(port)
    @port = port
    @redis = Redis.new(host: "127.0.0.1", port: port)
  end

  def record(given)
    @redis.flushdb
    send("record_#{given["kind"]}", given)
  ensure
    @processes&.each(&:close)
    @processes = nil
    MessageBus.configure(site_id_lookup: nil)
  end

  private

  def record_api(given)
    cache = process(nil, {}).cache("x", {})
    origin = "32 lower case hex digits, then the process id in decimal"
    given.slice("name", "kind", "what").merge(
      "cache" => MessageBus::DistributedCache.public_instance_methods(false).map(&:to_s).sort,
      "manager" => MessageBus::DistributedCache::Manager.public_instance_methods(false).map(&:to_s).sort,
      "channel" => MessageBus::DistributedCache::Manager::CHANNEL_NAME, "default_site" => MessageBus::DistributedCache::DEFAULT_SITE_ID,
      "origin" => cache.identity.match?(/\A[0-9a-f]{32}#{Process.pid}\z/) ? origin : cache.identity
    )
  end

  def record_operation(given)
    settings = given["cache"]
    local, peer = Array.new(2) { process(settings["publish_site"], settings) }
    caches = [local, peer].map { |process| operated(process, settings) }
    look_up(settings["lookup_site"])
    local.bus.off if settings["bus_off"]
    origin = caches.first.identity
    steps = given["steps"].map { |step| operate(caches.first, local, step, origin) }
    [local, peer].each { |process| process.await(local.published.length) } unless settings["bus_off"]
    given.slice("name", "kind", "what", "cache").merge(
      "steps" => steps, "stored" => stored(origin), "local" => sites(caches.first), "peer" => sites(caches.last),
      "local_log" => tidy(local.log, origin), "peer_log" => tidy(peer.log, origin)
    )
  end

  def operated(process, settings)
    own = settings.merge("app_version" => value(settings["app_version"]))
    cache = process.cache(value(settings["name"]), own)
    (@kept ||= []) << cache
    @kept << process.cache(settings["also_created"]["name"], settings["also_created"]) if settings["also_created"]
    process.listen
    cache
  end

  def operate(cache, process, step, origin)
    before = process.published.length
    key, value = %w[key value].map { |name| value(step[name], step, name) }
    outcome = raising("raises") { { "returns" => Describe[perform(cache, step["op"], key, value)] } }
    published = process.published[before..].map { |p| p.merge(spell_data(own(p["data"], origin))) }
    step.slice("op", "key", "value").merge(outcome, "published" => published.each { |p| p.delete("data") if p["data_base64"] })
  end

  def perform(cache, op, key, value)
    case op
    when "set" then cache.send(:[]=, key, value)
    when "get" then cache[key]
    when "delete" then cache.delete(key)
    when "delete_quietly" then cache.delete(key, publish: false)
    when "clear" then cache.clear
    end
  end

  def stored(origin)
    @redis.keys("__mb_backlog_n_*").sort.flat_map do |key|
      @redis.zrange(key, 0, -1).map { |member| { "key" => key, "member" => own(member, origin) } }
    end
  end

  def record_receive(given)
    look_up(given["lookup_site"])
    process = process(nil, {})
    caches = given["caches"].to_h { |settings| [settings["label"], process.cache(settings["name"], settings)] }
    process.listen
    origin = caches.fetch(given["own_origin_of"]).identity
    messages = given["messages"].each_with_index.map do |message, i|
      process.put(message["channel"], message["data"]&.gsub("ORIGIN-SELF", origin) || Base64.decode64(message["data_base64"]))
      process.await(i + 1)
      message.slice("channel", "data", "data_base64").merge("log" => tidy(process.log, origin), "holds" => caches.transform_values { |cache| sites(cache) })
    end
    given.merge("messages" => messages)
  end

  def record_value(given)
    value = eval(given["ruby"], TOPLEVEL_BINDING.dup, "(eval)", 1)
    marshalled = raising("marshal_error") { { "marshal_base64" => Base64.strict_encode64(Marshal.dump(value)) } }
    given.slice("name", "kind", "what", "refuse", "may_refuse", "ruby").merge(
      "describe" => Describe[value], **marshalled, "cache" => cached(value)
    )
  end

  # What a peer makes of a value.
  def cached(value)
    local, peer = Array.new(2) { process(nil, {}) }
    caches = [local, peer].map { |process| process.cache("values", {}).tap { process.listen } }
    outcome = raising("raises") do
      caches.first["v"] = value
      {}
    end
    return outcome.merge("published" => local.published.length) if outcome["raises"]

    peer.await(1)
    data = own(local.published.first["data"], caches.first.identity)
    sent = { "marshalled" => data.include?('"marshalled":true'), "value_json" => data[(data.index('"value":') + 8)...data.rindex(',"marshalled":')] }
    log = tidy(peer.log, caches.first.identity)
    sent.merge(log.empty? ? { "peer" => Describe[caches.last["v"]] } : { "peer_log" => log })
  end

  # In a process of its own, as it may need much memory.
  def record_bytes(given)
    bytes = given["marshal_base64"] ? Base64.decode64(given["marshal_base64"]) : repeated(given["marshal_repeat"])
    read, write = IO.pipe
    child = fork do
      Process.setrlimit(Process::RLIMIT_AS, 2 << 30)
      outcome = raising("ruby_error", Exception) { { "describe" => Describe[Marshal.load(bytes)] } }
      write.write(JSON.generate(outcome, max_nesting: false))
      exit!(0)
    end
    write.close
    outcome = JSON.parse(read.read, max_nesting: false)
    Process.wait(child)
    given.slice("name", "kind", "what", "refuse", "may_refuse", "marshal_base64", "marshal_repeat").merge(outcome)
  end

  def repeated(parts)
    prefix, unit, suffix = %w[prefix unit suffix].map { |name| Base64.decode64(parts["#{name}_base64"]) }
    prefix + unit * parts["times"] + suffix
  end

  def process(site, settings)
    CacheProcess.new(@port, site, settings).tap { |p| (@processes ||= []) << p }
  end

  def look_up(site)
    MessageBus.site_id_lookup { site == "nil" ? nil : site } if site
  end

  def raising(name, kind = StandardError)
    yield
  rescue kind => e
    { name => { "class" => e.class.name, "message" => tidy_text(e.message.lines.first.to_s.chomp) } }
  end

  def sites(cache)
    cache.instance_variable_get(:@data).transform_values { |hash| hash.map { |key, value| [Describe[key], Describe[value]] } }
  end

  def own(text, origin)
    tidy_text(text.gsub(origin, "ORIGIN-SELF"))
  end

  def tidy_text(text)
    text.gsub(/0x[0-9a-f]{16}/, "0x…")
  end

  def tidy(log, origin)
    log.map { |line| line.transform_values { |text| text && own(text, origin) } }
  end

  def spell_data(text)
    utf8 = text.dup.force_encoding("UTF-8")
    utf8.valid_encoding? ? { "data" => utf8 } : { "data_base64" => Base64.strict_encode64(text) }
  end

  # The value that is described, or one of a class whose values are described by their name
  # alone, whose text is in what was published.
  def value(described, step = nil, member = nil)
    return if described.nil?

    case described["type"]
    when "nil" then nil
    when "bool" then described["value"]
    when "int" then Integer(described["value"])
    when "float" then [described["bits"]].pack("H*").unpack1("G")
    when "symbol" then described["text"].to_sym
    when "string" then (described["text"] || Base64.decode64(described["base64"])).dup.force_encoding(described["encoding"])
    when "array" then described["items"].map { |item| value(item, step) }
    when "set" then described["items"].to_set { |item| value(item, step) }
    when "hash" then described["pairs"].to_h { |pair| pair.map { |one| value(one, step) } }
    when "other" then other(described["class"], step, member)
    else raise "a value of type #{described["type"]} is not known"
    end
  end

  def other(name, step, member)
    text = member && JSON.parse(step["published"].first["data"])["data"][member]
    case name
    when "Range" then Range.new(*text.split("..").map(&:to_i))
    when "Rational" then Rational(text)
    when "Class" then Object.const_get(text)
    when "Proc" then proc {}
    else raise "a value of class #{name} is not known"
    end
  end
end

recorder = CacheRecorder.new(Integer(ARGV.fetch(0)))
record_cases { |given| recorder.record(given) }
