# frozen_string_literal: true

# Prints what a user of the gem can call or set, one name a line: MODULE#method,
# MODULE.method, MODULE::CONSTANT, config:KEY, publish:OPTION. Not a peer: it ends by itself.

$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]

require "set"
require "message_bus"
require "message_bus/http_client"
require "message_bus/distributed_cache"
require "message_bus/backends/redis"
require "message_bus/backends/postgres"
require "message_bus/backends/memory"
require "message_bus/codec/json"

LIB = File.dirname($LOADED_FEATURES.find { |file| file.end_with?("/lib/message_bus.rb") })

# What the gem itself defines in a module; its own words for "not for users" are private.
def names(of, label)
  methods = of.public_instance_methods(false).map { |name| [of.instance_method(name), "#{label}##{name}"] } +
    of.singleton_methods(false).map { |name| [of.method(name), "#{label}.#{name}"] }
  methods.select { |method, _| method.source_location&.first&.start_with?(LIB) }.map(&:last) +
    (of.private_instance_methods(false).include?(:initialize) && of.is_a?(Class) ? ["#{label}.new"] : [])
end

found = names(MessageBus::Implementation, "MessageBus").to_set
modules = [MessageBus]
until modules.empty?
  outer = modules.shift
  outer.constants(false).each do |constant|
    found << "#{outer}::#{constant}" and next if outer.autoload?(constant) # what it loads may not be installed

    value = outer.const_get(constant)
    label = "#{outer}::#{constant}"
    if !value.is_a?(Module)
      found << label
    elsif value.to_s == label && label != "MessageBus::Implementation"
      found << label
      found.merge(names(value, label))
      modules << value
    end
  end
end

sources = Dir[File.join(LIB, "**/*.rb")].to_h { |file| [file, File.read(file)] }
sources.each_value do |text|
  text.scan(/\bconfig\[:(\w+)\]|\bconfigure\((\w+): |@option config \[[^\]]*\] :(\w+)/) { |keys| found << "config:#{keys.compact.first}" }
end
sources.fetch(File.join(LIB, "message_bus.rb")).scan(/\bopts\[:(\w+)\]|opts\.has_key\?\(:(\w+)\)/) { |keys| found << "publish:#{keys.compact.first}" }

puts MessageBus::VERSION, found.to_a.sort
