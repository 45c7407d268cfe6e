# A process with a bus of the gem: publisher, subscriber and distributed cache.

require "message_bus/distributed_cache"

class Store < Commands
  def initialize(configuration)
    site = configuration.delete(:site)
    @bus = open_bus(configuration)
    return unless site

    @bus.site_id_lookup { site }
    MessageBus.site_id_lookup { site } # by which a distributed cache knows its own
  end

  private

  def describe(message)
    {
      global_id: message.global_id, message_id: message.message_id, channel: message.channel, data: message.data,
      site_id: message.site_id, user_ids: message.user_ids, group_ids: message.group_ids, client_ids: message.client_ids
    }
  end

  def hear(subscriber, message)
    say(subscriber: subscriber, message: describe(message))
    @seen[subscriber] = true if @watched&.key?(subscriber) && message.data.start_with?(@watched[subscriber])
  end

  def options(named)
    named.empty? ? nil : named
  end

  public

  def publish(channel, data, **named)
    @bus.publish(channel, data, options(named))
  end

  # Publishes what the text evaluates to.
  def publish_ruby(channel, text)
    @bus.publish(channel, eval(text))
  end

  def subscribed
    @bus.backend_instance.subscribed
  end

  def destroy
    @bus.destroy
    nil
  end

  # Publishes 1, 2, … with a label in front; returns the ids.
  def publish_many(channel, label, count, **named)
    (1..count).map { |n| @bus.publish(channel, "#{label} #{n}", options(named)) }
  end

  # The same to a server that refuses writes. The gem's thread that asks whether it still
  # does closes the connection, under a publish too, which then raises this or that.
  def publish_queued(channel, label, count, **named)
    (1..count).each do |n|
      @bus.publish(channel, "#{label} #{n}", options(named))
    rescue StandardError
      sleep 0.001
      retry
    end
    nil
  end

  # The same on several channels by turns.
  def publish_around(channels, label, count)
    count.times { |n| @bus.publish(channels[n % channels.length], "#{label}: #{n}") }
    nil
  end

  # Goes on publishing, whatever is raised, until it is stopped. Then the ids are returned.
  def keep_publishing(channel, label)
    @ids, @publishing = [], true
    @publisher = Thread.new do
      (1..).each do |n|
        break unless @publishing

        begin
          id = @bus.publish(channel, "#{label} #{n}")
          @ids << id if id
        rescue StandardError => e
          $stderr.puts("publish: #{e.class}: #{e.message}")
        end
        sleep 0.005
      end
    end
    nil
  end

  def published
    @ids.length
  end

  def stop_publishing
    @publishing = false
    @publisher.join
    @ids
  end

  # Stores and announces data as they are, whatever they are.
  def publish_stored(channel, data)
    @bus.backend_instance.publish(channel, data)
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

  def last_message(channel)
    found = @bus.last_message(channel)
    found && describe(found)
  end

  def last_ids(*channels, **named)
    @bus.last_ids(*channels, **named)
  end

  # Subscribes, and returns when what is published from then on is heard.
  def subscribe(subscriber, channel = nil, last_id = -1)
    @bus.subscribe(channel, last_id) { |m| hear(subscriber, m) }
    sleep 0.005 until @bus.backend_instance.subscribed
    nil
  end

  # Looks from now on whether a subscriber gets data that begin so.
  def watch(subscriber, beginning)
    @seen = {}
    @watched = { subscriber => beginning }
    nil
  end

  def seen(subscriber)
    @seen.key?(subscriber)
  end

  # The same for the channel of the bus's own site.
  def subscribe_site(subscriber, channel, last_id = -1)
    @bus.local_subscribe(channel, last_id) { |m| hear(subscriber, m) }
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
    @manager = MessageBus::DistributedCache::Manager.new(@bus)
    @cache = MessageBus::DistributedCache.new(name, manager: @manager, **named)
    @cache["nothing"]
    sleep 0.005 until @bus.backend_instance.subscribed
    nil
  end

  # Another cache of the same manager, which is let go of.
  def cache_also(name, version)
    MessageBus::DistributedCache.new(name, manager: @manager, app_version: version)
    nil
  end

  def cache_identity
    @cache.identity
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

  def cache_has(key)
    @cache.hash.key?(key)
  end

  # Whether the value is what the text evaluates to, with the types of all that is in it.
  def cache_is(key, text)
    eval(text).eql?(@cache[key])
  end

  def cache_hash(site_id = nil)
    @cache.hash(site_id).to_a
  end

  def evaluate(text)
    eval(text)
    nil
  end
end

Store.run
