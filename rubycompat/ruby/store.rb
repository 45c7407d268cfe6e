# frozen_string_literal: true

# A Ruby process with a bus of the gem, for a test to command.
#
# The first argument is the JSON of the bus's configuration. Then each line of the
# standard input is a request, {"id":…,"op":…,"args":[…],"named":{…}}, and is answered
# by a line {"id":…,"returns":…} or {"id":…,"error":{"class":…,"message":…}}. What a
# subscriber gets is a line {"subscriber":…,"message":{…}}. The process ends with its
# input.

$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]

require "json"
require "logger"
require "set"
require "message_bus"
require "message_bus/distributed_cache"

class Commands
  def initialize(configuration)
    @bus = MessageBus::Instance.new
    configuration[:backend] = configuration[:backend].to_sym
    @bus.configure(configuration.merge(logger: Logger.new($stderr)))
    @output = Mutex.new
  end

  def run(input)
    say(ready: true)
    input.each_line { |line| answer(JSON.parse(line)) }
  ensure
    # Not destroy, which would end everybody's subscriptions.
    exit!(0)
  end

  private

  def answer(request)
    named = (request["named"] || {}).transform_keys(&:to_sym)
    say(id: request["id"], returns: public_send(request["op"], *request["args"], **named))
  rescue StandardError => e
    say(id: request["id"], error: { class: e.class.name, message: e.message })
  end

  def say(line)
    text = JSON.generate(line)
    @output.synchronize do
      $stdout.puts(text)
      $stdout.flush
    end
  end

  def describe(message)
    {
      global_id: message.global_id, message_id: message.message_id, channel: message.channel, data: message.data,
      site_id: message.site_id, user_ids: message.user_ids, group_ids: message.group_ids, client_ids: message.client_ids
    }
  end

  def options(named)
    named.empty? ? nil : named
  end

  public

  def version
    MessageBus::VERSION
  end

  def publish(channel, data, **named)
    @bus.publish(channel, data, options(named))
  end

  # Publishes 1, 2, … with a label in front; returns the ids.
  def publish_many(channel, label, count, **named)
    (1..count).map { |n| @bus.publish(channel, "#{label} #{n}", options(named)) }
  end

  def backlog(channel, last_id = nil, site_id = nil)
    @bus.backlog(channel, last_id, site_id).map { |m| describe(m) }
  end

  def global_backlog(last_id = nil)
    @bus.global_backlog(last_id).map { |m| describe(m) }
  end

  def last_id(channel, site_id = nil)
    @bus.last_id(channel, site_id)
  end

  def last_ids(*channels, **named)
    @bus.last_ids(*channels, **named)
  end

  # Subscribes, and returns when what is published from then on is heard.
  def subscribe(subscriber, channel = nil, last_id = -1)
    @bus.subscribe(channel, last_id) { |m| say(subscriber: subscriber, message: describe(m)) }
    sleep 0.005 until @bus.backend_instance.subscribed
    nil
  end

  def set(name, value)
    @bus.backend_instance.public_send("#{name}=", value)
  end

  def reset
    @bus.reset!
    nil
  end

  # Opens a distributed cache, and returns when it hears of changes.
  def cache_open(name, **named)
    @cache = MessageBus::DistributedCache.new(name, manager: MessageBus::DistributedCache::Manager.new(@bus), **named)
    @cache["nothing"]
    sleep 0.005 until @bus.backend_instance.subscribed
    nil
  end

  def cache_set(key, value)
    @cache[key] = value
    nil
  end

  # A set of values that JSON has not: what the text evaluates to.
  def cache_set_ruby(key, text)
    cache_set(key, eval(text))
  end

  def cache_get(key)
    @cache[key]
  end

  # The value as Ruby writes it, which shows its type.
  def cache_inspect(key)
    @cache[key].inspect
  end

  def cache_delete(key)
    @cache.delete(key)
    nil
  end

  def cache_clear
    @cache.clear
    nil
  end

  def cache_hash
    @cache.hash.to_a
  end
end

Commands.new(JSON.parse(ARGV.fetch(0), symbolize_names: true)).run($stdin)
