# frozen_string_literal: true

# The gem's own client, and a server that answers it by a script.

require "socket"
require "message_bus/http_client"

class ClientRecorder
  # How long something is waited for that was recorded, and how long what was not.
  PATIENCE = 10
  QUIET = 0.4

  BETWEEN_SEGMENTS = 0.06
  BEFORE_HOOK = 0.02

  def initialize(given)
    @given = given
    @requests = []
    @callbacks = []
    @warnings = []
    @steps = []
    @procs = {}
    @sockets = []
    @lock = Monitor.new
  end

  def record
    return defaults if @given.key?("defaults")

    @listener = TCPServer.new("127.0.0.1", 0)
    @port = @listener.local_address.ip_port
    @given["waits"] ? refused : played
  ensure
    @client&.stop
    @listener&.close unless @listener&.closed?
    @sockets.each(&:close)
  end

  private

  NUMBERS = %w[min_poll_interval max_poll_interval background_callback_interval].freeze

  def defaults
    client = MessageBus::HTTPClient.new("http://127.0.0.1")
    id = client.instance_variable_get(:@client_id)
    @given.slice("name", "what").merge(
      "defaults" => @given["defaults"].to_h { |name, _| [name, client.public_send(name)] },
      "headers" => client.instance_variable_get(:@headers),
      "client_id" => id.match?(/\A[0-9a-f]{32}\z/) ? "32 lower case hex digits" : id,
      "methods" => MessageBus::HTTPClient.public_instance_methods(false).map(&:to_s).sort,
      "STOPPED" => MessageBus::HTTPClient::STOPPED, "STARTED" => MessageBus::HTTPClient::STARTED
    )
  end

  # Nobody listens.
  def refused
    @listener.close
    open
    take(["subscribe", "A", "/a", "none"])
    count = @given["waits"].length
    wait_until { @warnings.length > count }
    waits = @warnings.map(&:last).each_cons(2).first(count).map.with_index(1) do |(from, to), n|
      { "after_failure" => n }.merge(interval(to - from, n))
    end
    @given.slice("name", "what", "options").merge("warnings" => @warnings.first(count).map { |text, _| text[/\A\S+/] }, "waits" => waits)
  end

  def played
    open
    accept
    hooked = @given["hooks"].each_value.sum(&:length)
    @given["steps"].first(@given["steps"].length - hooked).each { |step| step(step["step"]) }
    wait_until { %w[requests callbacks steps warnings].all? { |kind| instance_variable_get("@#{kind}").length >= @given[kind].length } }
    sleep QUIET
    @lock.synchronize do
      @given.slice("name", "what", "options", "base_path", "answers", "hooks").merge(
        "steps" => @steps, "requests" => @requests, "callbacks" => @callbacks, "warnings" => @warnings.map(&:first), "finally" => finally
      )
    end
  end

  def finally
    { "positions" => @client.channels.transform_values(&:last_message_id), "status" => @client.status, "stats" => stats }
  end

  def stats
    { "failed" => @client.stats.failed, "success" => @client.stats.success }
  end

  def open
    @client = MessageBus::HTTPClient.new("http://127.0.0.1:#{@port}#{@given["base_path"]}", **@given["options"].transform_keys(&:to_sym))
    warnings = @warnings
    @client.define_singleton_method(:warn) do |text|
      said = text.lines.first.chomp.sub(%r{: (?:/|-e:|<internal:).*}m, "")
      warnings << [said, Process.clock_gettime(Process::CLOCK_MONOTONIC)]
    end
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def wait_until
    finish = now + PATIENCE
    sleep 0.005 until yield || now > finish
  end

  def step(action)
    returned = take(action)
    @lock.synchronize { @steps << { "step" => action, "returns" => returned.equal?(@client) ? "the client" : returned } }
  end

  def take(action)
    op, *args = action
    case op
    when "subscribe" then subscribe(*args)
    when "subscribe_without_block" then @client.subscribe(*args)
    when "unsubscribe" then @client.unsubscribe(args[0], &@procs[args[1]])
    when "set" then @client.public_send("#{args[0]}=", args[1])
    when "sleep" then sleep(args[0]) && nil
    when "start", "stop", "status" then @client.public_send(op)
    else raise "the step #{op} is not known"
    end
  rescue StandardError => e
    "raises #{e.class}"
  end

  def subscribe(name, channel, last_id, raises = nil)
    callback = @procs[name] ||= proc do |data, id, global_id|
      @lock.synchronize do
        @callbacks << { "callback" => name, "data" => data, "message_id" => id, "global_id" => global_id, "during_request" => @requests.length }
      end
      raise "callback failed" if raises
    end
    last_id == "none" ? @client.subscribe(channel, &callback) : @client.subscribe(channel, last_message_id: last_id, &callback)
  end

  def accept
    Thread.new do
      loop do
        socket = @listener.accept
        @sockets << socket
        Thread.new { answer(socket) }.report_on_exception = false
      end
    rescue IOError, SystemCallError
      nil # the case is over
    end
  end

  # Behind the last answer requests are held.
  def answer(socket)
    number = note(*read(socket))
    run(number.to_s)
    answer = @given["answers"][number - 1] or return
    (answer["segments"] || answer["segments_base64"].map { |s| Base64.decode64(s) }).each_with_index do |segment, i|
      break if i.positive? && socket.wait_readable(BETWEEN_SEGMENTS) # the client has closed

      socket.write(segment)
    end
    socket.setsockopt(Socket::SOL_SOCKET, Socket::SO_LINGER, [1, 0].pack("ii")) if answer["end"] == "reset"
    @ended = now
    socket.close
    sleep BEFORE_HOOK
    @ended = nil if run("after-#{number}")
  end

  def run(hook)
    @given["hooks"][hook]&.each { |action| step(action) }
  end

  def read(socket)
    line = socket.gets("\r\n").chomp.sub(/[0-9a-f]{32}/, "CLIENT-ID")
    arrived = now
    headers = []
    until (header = socket.gets("\r\n").chomp).empty?
      headers << header.gsub(":#{@port}", ":PORT").split(": ", 2)
    end
    body = socket.read(headers.assoc("Content-Length")[1].to_i)
    [line, headers, body, arrived]
  end

  def note(line, headers, body, arrived)
    @lock.synchronize do
      request = { "line" => line }
      different = headers.reject { |name, _| name == "Content-Length" }
      request["headers"] = headers unless @first == different
      @first ||= different
      request["body"] = body
      request["delay"] = interval(arrived - @ended, stats["failed"]) if @ended
      @ended = nil
      @requests << request.merge("stats" => stats)
      @requests.length
    end
  end

  # The setting that a wait after so many failures comes from: none is shorter.
  def interval(seconds, failures)
    named = NUMBERS.to_h { |name| [name, @given["options"].fetch(name)] }
    doubled = { "min_poll_interval*2**#{failures}" => (named["min_poll_interval"] * 2**failures).round(6) }
    is, value = named.merge(failures > 2 ? doubled : {}).select { |_, v| v <= seconds + 0.002 }.max_by(&:last)
    { "is" => is, "seconds" => value }
  end
end

record_cases(at_once: 8) { |given| ClientRecorder.new(given).record }
