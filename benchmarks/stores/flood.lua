-- Stores and announces many messages, as so many publishes would.
--
-- KEYS  last global id, global backlog
-- ARGV  pub/sub channel, messages, channels, envelope
local global_key, pointers_key = KEYS[1], KEYS[2]
local pubsub, messages, channels, envelope = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

for i = 0, messages - 1 do
  local channel = '/flood/' .. i % channels
  local global_id = redis.call('INCR', global_key)
  local id = redis.call('INCR', '__mb_backlog_id_n_' .. channel)
  local message = string.format('%.0f|%.0f|%s|%s', global_id, id, channel, envelope)
  redis.call('ZADD', '__mb_backlog_n_' .. channel, id, message)
  redis.call('ZADD', pointers_key, global_id, string.format('%.0f|%s', id, channel))
  redis.call('PUBLISH', pubsub, message)
end

-- Two floods are kept, for those who cannot keep up with the last one.
local kept = 2 * math.ceil(messages / channels)
for i = 0, math.min(channels, messages) - 1 do
  redis.call('ZREMRANGEBYRANK', '__mb_backlog_n_/flood/' .. i, 0, -1 - kept)
end
redis.call('ZREMRANGEBYRANK', pointers_key, 0, -1 - 2 * messages)
return messages
