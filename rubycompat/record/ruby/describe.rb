# frozen_string_literal: true

# How cache.json describes values of Ruby.

require "bigdecimal"

# Classes for values that are not plain data.
module Golden
  Point = Struct.new(:x, :y)

  class Thing
    def initialize(a)
      @a = a
    end
  end

  class Empty; end
  class MyString < String; end
  class MyArray < Array; end
  class MyHash < Hash; end
  class MySet < Set; end
  class Error < StandardError; end
  module Mixin; end

  class UserMarshal
    def marshal_dump
      [1, "two"]
    end

    def marshal_load(_state); end
  end

  class OldDump
    def _dump(_depth)
      "state"
    end

    def self._load(_state)
      new
    end
  end
end

# Describes one value. What is met twice in it has a number.
class Describe
  DEEP = 50

  def self.[](value)
    new(value).describe(value)
  end

  def initialize(value)
    @met = Hash.new(0).compare_by_identity
    meet(value)
    @ids = {}.compare_by_identity
  end

  def describe(value)
    case value
    when nil then { "type" => "nil" }
    when true, false then { "type" => "bool", "value" => value }
    when Integer then { "type" => "int", "value" => value.to_s }
    when Float then { "type" => "float", "value" => value.to_s, "bits" => [value].pack("G").unpack1("H*") }
    when Symbol then { "type" => "symbol", "encoding" => value.encoding.name, "text" => value.to_s.encode("UTF-8") }
    when String, Array, Hash, Set then once(value)
    else { "type" => "other", "class" => value.class.name }
    end
  end

  private

  def once(value)
    return { "type" => "ref", "id" => @ids[value] } if @ids.key?(value)

    id = { "id" => @ids[value] = @ids.length + 1 } if @met[value] > 1
    { **whole(value), **id.to_h, **more(value) }
  end

  def whole(value)
    case value
    when String then string(value)
    when Array
      depth = depth(value)
      depth > DEEP ? { "type" => "nested_array", "depth" => depth } : { "type" => "array", "items" => value.map { |v| describe(v) } }
    when Set then { "type" => "set", "items" => value.map { |v| describe(v) } }
    when Hash
      described = { "type" => "hash", "pairs" => value.map { |k, v| [describe(k), describe(v)] } }
      described["default"] = describe(value.default) unless value.default.nil?
      described["by_identity"] = true if value.compare_by_identity?
      described
    end
  end

  def string(value)
    described = { "type" => "string", "encoding" => value.encoding.name }
    if value.valid_encoding? && [Encoding::UTF_8, Encoding::US_ASCII].include?(value.encoding)
      return described.merge("text" => String.new(value, encoding: "UTF-8").gsub(/0x[0-9a-f]{16}/, "0x…"))
    end

    described["base64"] = Base64.strict_encode64(value)
    described["utf8"] = value.encode("UTF-8") unless [Encoding::UTF_8, Encoding::BINARY].include?(value.encoding)
    described
  rescue EncodingError
    described
  end

  def more(value)
    base = [String, Array, Hash, Set].find { |c| value.is_a?(c) }
    more = {}
    more["class"] = value.class.name unless value.class == base
    names = value.instance_variables - [:@hash]
    more["ivars"] = names.to_h { |name| [name.to_s, describe(value.instance_variable_get(name))] } unless names.empty?
    more
  end

  def depth(value)
    depth = 1
    depth += 1 while value.length == 1 && (value = value.first).is_a?(Array) && depth < 10_000
    value.is_a?(Array) && value.empty? ? depth : 0
  end

  def meet(value)
    return unless [String, Array, Hash, Set].any? { |c| value.is_a?(c) }

    @met[value] += 1
    return if @met[value] > 1 || value.is_a?(String)

    value.is_a?(Hash) ? value.each { |k, v| meet(k) || meet(v) } && meet(value.default) : value.each { |v| meet(v) }
  end
end
