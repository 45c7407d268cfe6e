# frozen_string_literal: true

# How a recording spells what JSON has not, or what is too long for it.

require "base64"
require "digest"
require "json"

module Values
  LONG = 1000
  DEEP = 50

  module_function

  # Of Ruby, for the recording.
  def spell(value)
    case value
    when String then spell_string(value)
    when Float then value.finite? ? value : { "float" => value.to_s }
    when Hash then nested(value) || value.to_h { |k, v| [k.to_s, spell(v)] }
    when Array then nested(value) || value.map { |v| spell(v) }
    when Symbol then value.to_s
    else value
    end
  end

  def spell_string(text)
    utf8 = text.dup.force_encoding("UTF-8")
    return { "base64" => Base64.strict_encode64(text) } unless utf8.valid_encoding?
    return utf8 if utf8.bytesize <= LONG
    return { "repeat" => utf8[0], "times" => utf8.length } if utf8.squeeze.length == 1

    { "long" => { "bytes" => utf8.bytesize, "sha256" => Digest::SHA256.hexdigest(utf8), "starts" => utf8[0, 40], "ends" => utf8[-40..] } }
  end

  def nested(value)
    depth = 0
    inner = value
    while inner.is_a?(Array) && inner.length <= 1 || inner.is_a?(Hash) && inner.length == 1
      depth += 1
      inner = inner.is_a?(Array) ? inner.first : inner.values.first
    end
    depth > DEEP ? { "nested" => depth } : nil
  end

  # Of the recording, for Ruby.
  def read(value)
    case value
    when Array then value.map { |v| read(v) }
    when Hash then read_hash(value)
    else value
    end
  end

  def read_hash(value)
    case value.keys
    when ["base64"] then Base64.decode64(value["base64"])
    when %w[repeat times] then value["repeat"] * value["times"]
    when ["float"] then { "NaN" => Float::NAN, "Infinity" => Float::INFINITY, "-Infinity" => -Float::INFINITY }.fetch(value["float"])
    else value.transform_values { |v| read(v) }
    end
  end

  def error(raised)
    { "class" => raised.class.name, "message" => spell(raised.message) }
  end

  # What a block returns, or the error that it raises, under the name.
  def outcome(name = "returns")
    { name => spell(yield) }
  rescue StandardError, SystemStackError => e
    { "error" => error(e) }
  end
end

# A named parameter of a method that an older gem has without it.
class NoParameterError < StandardError
  attr_reader :name

  def initialize(name)
    super("there is no parameter #{name}")
    @name = name
  end

  def self.check(method, name)
    raise new(name) unless method.parameters.any? { |_, known| known == name }
  end
end

# Each line of the input is a case of the recording; each line of the output is it again,
# as this gem makes it, in the same order. A case for which the gem lacks a method is a
# line with "lacks", and one that cannot be played is one with "failed". So many are
# played at once.
def record_cases(at_once: 1, &play)
  $stdout.sync = true
  waiting = $stdin.each_line.map.with_index { |line, i| [i, JSON.parse(line, max_nesting: false)] }
  done = Array.new(waiting.length)
  written = 0
  lock = Mutex.new
  players = Array.new(at_once) do
    Thread.new do
      while (i, given = lock.synchronize { waiting.shift })
        line = JSON.generate(recorded(given, &play), max_nesting: false)
        lock.synchronize do
          done[i] = line
          written = done[written..].take_while(&:itself).each { |l| puts l }.length + written
        end
      end
    end
  end
  players.each(&:join)
end

def recorded(given)
  yield(given)
rescue NoMethodError, NoParameterError => e
  given.slice("name", "what").merge("lacks" => e.name.to_s)
rescue StandardError => e
  { "name" => given["name"], "failed" => "#{e.class}: #{e.message} #{e.backtrace.first(3)}" }
end

$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]
require "logger"
require "set"
require "message_bus"
