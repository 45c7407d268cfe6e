# A web server with the gem's middleware.

require "rack"
require "puma"
require "puma/server"

class Server < Commands
  def initialize(configuration)
    headers = configuration.delete(:lookups) # who asks is said by headers
    @turns = Mutex.new if configuration.delete(:turns)
    @bus = open_bus(configuration)
    @bus.user_id_lookup { |env| env["HTTP_X_USER"] } if headers
    @bus.site_id_lookup { |env| env && env["HTTP_X_SITE"] } if headers == "sites"
    missing = ->(_env) { [404, {}, []] }
    middleware = MessageBus::Rack::Middleware.new(missing, message_bus: @bus)
    @clients = middleware.instance_variable_get(:@connection_manager)
    @server = Puma::Server.new(->(env) { in_turn { middleware.call(env) } })
    @port = @server.add_tcp_listener("127.0.0.1", 0).addr[1]
    @server.run
    @handed_on = {}
    @bus.subscribe do |message|
      # Behind the middleware, which does it in the same way.
      @bus.timer.queue { @handed_on[message.message_id] = Time.now.to_f }
    end
    sleep 0.005 until @bus.backend_instance.subscribed
  end

  # When each message had been handed to those whose requests are held, by its id.
  attr_reader :handed_on

  attr_reader :port

  # With turns nothing is published between the look of a request at the backlog and its
  # hold, where the gem would lose it.
  def in_turn(&block)
    @turns ? @turns.synchronize(&block) : yield
  end
  private :in_turn

  # How many requests are held.
  def held
    @clients.client_count
  end

  def publish(channel, data, **named)
    in_turn { @bus.publish(channel, data, named.empty? ? nil : named) }
  end

  def publish_stored(channel, data)
    @bus.backend_instance.publish(channel, data)
  end

  # A filter that raises.
  def break_filter(prefix)
    @bus.register_client_message_filter(prefix) { |_message| raise "broken" }
    nil
  end
end

Server.run
