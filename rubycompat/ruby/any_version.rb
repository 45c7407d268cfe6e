# A process with a bus of any version of the gem from 2.2 on.

class AnyVersion < Commands
  def initialize(configuration)
    redis = configuration.delete(:redis_config) || {}
    # Settings of Redis stood among the bus's own before 4.4.
    nested = Gem::Version.new(MessageBus::VERSION) >= Gem::Version.new("4.4.0")
    @bus = open_bus(configuration.merge(nested ? { redis_config: redis } : redis))
  end

  def publish(channel, data, **named)
    @bus.publish(channel, data, named)
  end

  def backlog(channel, site_id)
    @bus.backlog(channel, 0, site_id).map { |m| describe(m) }
  end

  def global_backlog
    @bus.global_backlog(0).map { |m| describe(m) }
  end

  def last_id(channel, site_id)
    @bus.last_id(channel, site_id)
  end

  # Subscribes to everything, and returns when what is published from then on is heard.
  def subscribe(subscriber)
    backend = @bus.respond_to?(:backend_instance) ? @bus.backend_instance : @bus.reliable_pub_sub
    @bus.subscribe { |m| say(subscriber: subscriber, message: describe(m)) }
    sleep 0.005 until backend.subscribed
    nil
  end

  private

  def describe(message)
    {
      global_id: message.global_id, id: message.message_id, channel: message.channel, site: message.site_id,
      data: message.data, user_ids: message.user_ids, group_ids: message.group_ids, client_ids: message.client_ids
    }
  end
end

AnyVersion.run
