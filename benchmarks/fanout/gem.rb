# frozen_string_literal: true

# The gem on puma, as a server process: it answers its address, until its input ends.

$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]

require "json"
require "logger"
require "message_bus"
require "puma"
require "puma/server"
require "rack"
require "uri"

url = URI(ARGV[0])
MessageBus.configure(
  backend: :redis,
  # One number for the database and for the pub/sub channel.
  redis_config: { host: url.host, port: url.port, db: url.path.delete_prefix("/").to_i },
  logger: Logger.new($stderr, level: Logger::ERROR),
  max_active_clients: 100_000,
  long_polling_interval: 3_600_000,
)

app = MessageBus::Rack::Middleware.new(->(_env) { [404, {}, []] })
events = Puma::Events.null # clients notice what goes wrong
server = Puma::Server.new(app, events, min_threads: 5, max_threads: 5) # puma's own default
listening = server.add_tcp_listener("127.0.0.1", 0, true, 4096)
server.run

$stdout.sync = true
puts "ready"
$stdin.each_line { puts JSON.generate("127.0.0.1:#{listening.addr[1]}") }
exit!(0)
