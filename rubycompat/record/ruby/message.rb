# frozen_string_literal: true

# Records one encoding or decoding a case.

# A backend that keeps what it is given.
class Kept
  attr_reader :data

  def publish(_channel, data, _options = nil)
    @data = data
    1
  end
end

def bus_on(backend)
  bus = MessageBus::Instance.new
  bus.configure(logger: Logger.new(IO::NULL))
  bus.respond_to?(:backend_instance=) ? bus.backend_instance = backend : bus.reliable_pub_sub = backend
  bus
end

def fields(message)
  { "global_id" => message.global_id, "message_id" => message.message_id, "channel" => message.channel, "data" => message.data }
end

def record_message(given)
  case given["op"]
  when "encode" then record_encode(given)
  when "decode" then Values.outcome("message") { fields(MessageBus::Message.decode(Values.read(given["encoded"]))) }
  when "envelope-encode" then record_envelope(given)
  when "envelope-decode"
    Values.outcome("opened") do
      message = MessageBus::Message.new(1, 1, "/a", Values.read(given["envelope"]))
      MessageBus::Instance.new.send(:decode_message!, message)
      { "data" => message.data, "user_ids" => message.user_ids, "group_ids" => message.group_ids, "client_ids" => message.client_ids }
    end
  when "stored-name-decode"
    channel, site = MessageBus::Instance.new.send(:decode_channel_name, Values.read(given["stored_channel"]))
    { "channel" => channel, "site_id" => site }
  else raise "the op #{given["op"]} is not known"
  end
end

def record_encode(given)
  parts = %w[global_id message_id channel data].map { |name| Values.read(given[name]) }
  message = MessageBus::Message.new(*parts)
  encoded = message.encode
  {
    "encoded" => Values.spell(encoded), "without_ids" => Values.spell(message.encode_without_ids),
    "decodes_to" => Values.spell(fields(MessageBus::Message.decode(encoded.dup)))
  }
rescue StandardError => e
  { "error" => Values.error(e) }
end

def record_envelope(given)
  kept = Kept.new
  bus = bus_on(kept)
  Values.outcome("envelope") do
    data = given.key?("ruby_data") ? eval(given["ruby_data"]) : Values.read(given["data"])
    targets = %w[user_ids group_ids client_ids].to_h { |name| [name, Values.read(given[name])] }
    if bus.respond_to?(:transport_codec) # since 3.3.6
      bus.transport_codec.encode({ "data" => data }.merge(targets))
    else
      bus.publish("/a", data, targets.transform_keys(&:to_sym))
      kept.data
    end
  end
end

INPUTS = %w[name what op global_id message_id channel data encoded ruby_data user_ids group_ids client_ids envelope stored_channel].freeze

record_cases do |given|
  outputs = { "encode" => %w[encoded], "envelope-encode" => %w[envelope], "stored-name-decode" => %w[channel] }.fetch(given["op"], [])
  given.slice(*(INPUTS - outputs)).merge(record_message(given))
end
