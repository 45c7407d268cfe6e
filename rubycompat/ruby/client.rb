# The gem's client over HTTP.

require "message_bus/http_client"

class Client < Commands
  def initialize(settings)
    @client = MessageBus::HTTPClient.new(settings.delete(:base), **settings)
  end

  def subscribe(subscriber, channel, last_id)
    @client.subscribe(channel, last_message_id: last_id) do |data, id, global_id|
      say(subscriber: subscriber, message: { data: data, message_id: id, global_id: global_id })
    end
    nil
  end

  def stop
    @client.stop
    nil
  end

  # Subscriptions to the channel that have a position of their own.
  def channels
    @client.channels.transform_values(&:last_message_id)
  end

  # A callback that raises, when it is first called.
  def subscribe_broken(channel)
    raised = false
    @client.subscribe(channel) do |_data|
      unless raised
        raised = true
        raise "broken"
      end
    end
    nil
  end
end

Client.run
