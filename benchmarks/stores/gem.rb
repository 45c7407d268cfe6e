# frozen_string_literal: true

# The gem's side of the comparison. The argument is the address of the store; it works
# in the second place there. Each line of the input is a JSON array, an operation with
# its arguments, and is answered by a number on a line. It ends with its input.

$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]

require "json"
require "logger"
require "message_bus"
require "uri"

PAYLOAD = { from: "Ann", text: "a message of an ordinary size, for a chat" }.freeze

def configuration(address)
  url = URI(address["second"])
  name = url.path.delete_prefix("/")
  if address["store"] == "Redis"
    # The gem takes one number for the database and for the pub/sub channel.
    return { backend: :redis, redis_config: { host: url.host, port: url.port, db: name.to_i } }
  end
  { backend: :postgres, backend_options: { host: url.host, port: url.port, user: url.user, dbname: name } }
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

class Operations
  def initialize(configuration)
    @bus = MessageBus::Instance.new
    @bus.configure(configuration.merge(logger: Logger.new($stderr, level: Logger::ERROR)))
    @received = Queue.new
    @left = 0
  end

  # Publishes for so many seconds; messages a second.
  def publish(threads, seconds)
    start = now
    counts = (1..threads).map { Thread.new { publish_until(start + seconds) } }.map(&:value)
    counts.sum / (now - start)
  end

  # Subscribes, and returns when that is heard.
  def subscribe(channel)
    @bus.subscribe(channel) { count }
    sleep 0.01 until @bus.backend_instance.subscribed
    0
  end

  # Takes so many messages, and returns how many a second between the first and the last.
  def receive(messages)
    @messages = @left = messages
    @received.pop
  end

  # Reads the backlogs of so many channels; channels a second.
  def backlogs(channels)
    start = now
    read = (0...channels).sum { |i| @bus.backlog("/flood/#{i}", 0).size }
    raise "#{read} messages on #{channels} channels" unless read == 2 * channels
    channels / (now - start)
  end

  private

  def publish_until(deadline)
    published = 0
    loop do
      @bus.publish("/chat", PAYLOAD)
      published += 1
      return published if now >= deadline
    end
  end

  def count
    @first = now if @left == @messages
    @left -= 1
    @received << (@messages - 1) / (now - @first) if @left.zero?
  end
end

operations = Operations.new(configuration(JSON.parse(ARGV[0])))
$stdout.sync = true
puts "ready"
$stdin.each_line do |line|
  puts operations.public_send(*JSON.parse(line))
end
exit!(0) # not destroy, which would end everybody's subscriptions
