# The gem's own server, in memory, with what the suite needs beside it: POST /control/publish.
# Prints its port. Its parent ends it by closing its input.
$:.unshift ENV["MESSAGE_BUS_LIB"] if ENV["MESSAGE_BUS_LIB"]
require "json"
require "message_bus"
require "rack"
require "puma"
require "puma/server"

MessageBus.configure(backend: :memory)
MessageBus.long_polling_interval = 5_000

control = lambda do |env|
  request = JSON.parse(env["rack.input"].read)
  if env["PATH_INFO"].end_with?("/publish")
    request["count"].times { |i| MessageBus.publish(request["channel"], request["from"] + i) }
  end
  [200, { "content-type" => "text/plain" }, ["done"]]
end
app = lambda { |env| env["PATH_INFO"].start_with?("/control/") ? control.(env) : [404, {}, []] }

server = Puma::Server.new(MessageBus::Rack::Middleware.new(app))
port = server.add_tcp_listener("127.0.0.1", 0).addr[1]
server.run
puts port
$stdout.flush
$stdin.read
MessageBus.destroy
server.stop(true)
