# frozen_string_literal: true

# The gem's side of the comparison. Each line of the input is a JSON array, an
# operation with its arguments, and is answered by a number on a line. It ends with
# its input.

$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]

require "json"
require "set"
require "message_bus"
require "message_bus/distributed_cache"

def nanoseconds
  Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
end

class Operations
  def initialize
    bus = MessageBus::Instance.new
    bus.configure(backend: :memory)
    @manager = MessageBus::DistributedCache::Manager.new(bus)
    @cache = MessageBus::DistributedCache.new("animals", manager: @manager)
  end

  # Fills the cache with keys.
  def fill(keys)
    keys.each_with_index { |key, i| @cache.hash[key] = i }
    @keys = keys
    0
  end

  # Reads for so many nanoseconds; nanoseconds of one read.
  def get(slice)
    start = nanoseconds
    reads = 0
    while nanoseconds - start < slice
      @keys.each { |key| @cache[key] or raise key }
      reads += @keys.size
    end
    (nanoseconds - start).fdiv(reads)
  end

  # Reads an envelope and applies the operation in it, so many times; nanoseconds of
  # one.
  def apply(envelope, times)
    start = nanoseconds
    times.times do |i|
      message = MessageBus::Message.new(i, i, "/distributed_hash", JSON.parse(envelope)["data"])
      @manager.process_message(message)
    end
    (nanoseconds - start).fdiv(times)
  end
end

operations = Operations.new
$stdout.sync = true
puts "ready"
$stdin.each_line do |line|
  puts operations.public_send(*JSON.parse(line))
end
exit!(0) # the bus has threads of its own
