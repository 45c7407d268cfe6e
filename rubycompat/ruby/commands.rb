# frozen_string_literal: true

# How a test commands a Ruby process. This file stands in front of each program.
#
# The first argument is JSON, the program's configuration. Then each line of the
# standard input is a request, {"id":…,"op":…,"args":[…],"named":{…}}, for a public method
# of the program, and is answered by a line {"id":…,"returns":…} or
# {"id":…,"error":{"class":…,"message":…}}. What a subscriber gets is a line
# {"subscriber":…,"message":{…}}. The process ends with its input.

$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]

require "json"
require "logger"
require "set"
require "message_bus"

class Commands
  def self.run
    new(JSON.parse(ARGV.fetch(0), symbolize_names: true)).run($stdin)
  end

  def run(input)
    say(ready: true)
    input.each_line { |line| answer(JSON.parse(line, max_nesting: false)) }
  ensure
    # Not destroy, which would end everybody's subscriptions.
    exit!(0)
  end

  def version
    MessageBus::VERSION
  end

  def pid
    Process.pid
  end

  private

  def answer(request)
    named = (request["named"] || {}).transform_keys(&:to_sym)
    say(id: request["id"], returns: public_send(request["op"], *request["args"], **named))
  rescue StandardError => e
    say(id: request["id"], error: { class: e.class.name, message: e.message })
  end

  def say(line)
    text = JSON.generate(line, max_nesting: 0)
    output.synchronize do
      $stdout.puts(text)
      $stdout.flush
    end
  end

  def output
    @output ||= Mutex.new
  end

  # Redis::ReadOnlyError is named by the gem, and missing in redis-rb 4: there the error is
  # a CommandError, which the gem knows by its text.
  def complete_redis
    require "redis"
    Redis.const_set(:ReadOnlyError, Class.new(Redis::CommandError)) unless Redis.const_defined?(:ReadOnlyError)
  end

  def open_bus(configuration)
    complete_redis if configuration[:backend] == "redis"
    configuration[:backend] = configuration[:backend].to_sym
    MessageBus::Instance.new.tap { |bus| bus.configure(configuration.merge(logger: Logger.new($stderr))) }
  end
end
