# frozen_string_literal: true

# What differs between versions of redis-rb, and between versions of the gem that use it.

require "redis"

# The gem names this error since 4.4, and redis-rb 4 lacks it: there it is a CommandError,
# which the gem knows by its text.
Redis.const_set(:ReadOnlyError, Class.new(Redis::CommandError)) unless Redis.const_defined?(:ReadOnlyError)

# Settings of Redis stood among the bus's own before 4.4.
def nested_redis_config?
  Gem::Version.new(MessageBus::VERSION) >= Gem::Version.new("4.4.0")
end
