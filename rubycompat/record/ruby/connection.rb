# frozen_string_literal: true

# What goes over a connection of HTTP, and when, in the words of the recordings.

require "socket"

module Clock
  module_function

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

# Texts as http.json spells them.
module WireText
  LONG = 4096

  module_function

  def spell(value)
    case value
    when String then spell_text(value)
    when Array then value.map { |v| spell(v) }
    when Hash then value.transform_values { |v| spell(v) }
    else value
    end
  end

  def spell_text(text)
    utf8 = text.dup.force_encoding("UTF-8")
    return { "$base64" => Base64.strict_encode64(text) } unless utf8.valid_encoding?
    return utf8 if utf8.bytesize <= LONG

    { "$long" => { "bytes" => utf8.bytesize, "sha256" => Digest::SHA256.hexdigest(utf8), "head" => utf8[0, 100], "tail" => utf8[-40..] } }
  end

  def read(value)
    return value unless value.is_a?(Hash)

    case value.keys
    when ["$base64"] then Base64.decode64(value["$base64"])
    when ["$repeat"] then value["$repeat"]["string"] * value["$repeat"]["times"]
    when ["$nest"] then value["$nest"].times.reduce("in") { |inner, _| [inner] }
    else value
    end
  end
end

# A request that was sent, and its answer.
class Connection
  attr_reader :opened, :complete

  # How long a connection is watched after its answer, to see whether the server closes it.
  LINGER = 0.15

  def initialize(port, request)
    @request = request
    @socket = TCPSocket.new("127.0.0.1", port)
    @opened = Clock.now
    @raw = +"".b
    @chunks = []
    @lines = []
    @socket.write(WireText.read(request["raw"]))
    @reader = Thread.new { read }
  end

  def cut
    @cut = true
    @reader.kill.join
    @socket.close
  end

  def wait
    @reader.join
    @socket.close
  end

  # Says of the moments that are given to it of which class they are.
  def describe
    answer = {
      "status" => @status&.[](/ (\d+)/, 1)&.to_i, "status_line" => @status, "header_lines" => @lines, "headers" => headers, "raw_body" => @raw
    }
    if chunked?
      answer["chunks"] = @chunks.map { |payload, at| { "payload" => payload, "json" => json(payload.delete_suffix("\r\n|\r\n")), "came" => yield(at) } }
      answer["terminated"] = !!@terminated
    end
    all = chunked? ? answer["chunks"].flat_map { |c| c["json"] || [] } : json(@raw)
    WireText.spell(answer.merge("json" => all)).merge("closed_by_server" => !!@closed)
  end

  def cut?
    !!@cut
  end

  private

  def headers
    @lines.each_with_object({}) { |(name, value), all| (all[name.downcase] ||= []) << value }.transform_values { |values| values.join(", ") }
  end

  def chunked?
    headers["transfer-encoding"] == "chunked"
  end

  def read
    @status = line
    until (header = line).empty?
      @lines << header.split(": ", 2)
    end
    chunked? ? read_chunks : read_body
    @complete = Clock.now
    @closed = @socket.wait_readable(LINGER) && @socket.read(1).nil?
  rescue EOFError, SystemCallError
    @complete = Clock.now
    @closed = true
  end

  def line
    (@socket.gets("\r\n") || raise(EOFError)).chomp("\r\n")
  end

  def read_body
    # A server leaves out the body of HEAD; the gem does not, where it writes by itself.
    return if @request["method"] == "HEAD" && headers["connection"] != "close"

    size = headers["content-length"]
    @raw << (size ? @socket.read(size.to_i) : @socket.read)
  end

  def read_chunks
    loop do
      head = @socket.gets("\r\n") || raise(EOFError)
      size = head.to_i(16)
      payload = @socket.read(size)
      @raw << head << payload << @socket.read(2)
      break @terminated = true if size.zero?

      @chunks << [payload.force_encoding("UTF-8"), Clock.now]
    end
  end

  def json(text)
    value = JSON.parse(text.dup.force_encoding("UTF-8"), max_nesting: false)
    value.is_a?(Array) ? value : nil
  rescue JSON::ParserError
    nil
  end
end
