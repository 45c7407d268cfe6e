# The same in Ruby: gem install message_bus redis, then ruby peer.rb
require "set"
require "message_bus"
require "message_bus/distributed_cache"

MessageBus.configure(backend: :redis, url: ENV.fetch("REDIS_URL", "redis://127.0.0.1:6379"))
cache = MessageBus::DistributedCache.new("example")
cache.hash # begins to listen; what was set before is not known here

while (line = $stdin.gets)
  command, key, value = line.chomp.split(" ", 3)
  case command
  when "set" then cache[key] = value
  when "delete" then cache.delete(key)
  when "clear" then cache.clear
  when "get" then p cache[key]
  when "all" then p cache.hash
  end
end
