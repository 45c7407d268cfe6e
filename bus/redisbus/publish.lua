-- Stores one message and announces it, or changes nothing.
--
-- KEYS  last global id, last id of the channel, backlog of the channel, global backlog
-- ARGV  pub/sub channel, stored channel name, `<escaped channel>|<data>`,
--       age in seconds, size, global size, clear every
-- Returns the global id and the message id.
local global_key, id_key, backlog_key, pointers_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local age, size, global_size, every = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

-- Whatever can be wrong is found before the first write: reading a key of
-- another type is an error, and so is a counter that does not count.
local last = redis.call('GET', id_key)
for _, counter in ipairs({last or '0', redis.call('GET', global_key) or '0'}) do
  if not string.find(counter, '^%d+$') then
    return redis.error_reply('ERR a message id in ' .. id_key .. ' or ' .. global_key .. ' is not an integer')
  end
end
local newest = redis.call('ZREVRANGE', backlog_key, 0, 0, 'WITHSCORES')
local lifetime = redis.call('PTTL', pointers_key) -- ms; -2 no key, -1 it never expires
redis.call('ZCARD', pointers_key)

-- The first write: a server that refuses writes does so here.
local global_id = redis.call('INCR', global_key)
if not last and newest[2] and tonumber(newest[2]) < 2 ^ 53 then
  -- The id key is gone and the backlog is not: two messages must not share an id.
  redis.call('SET', id_key, string.format('%.0f', newest[2]))
end
local id = redis.call('INCR', id_key)

-- Not by the .. of numbers, which keeps 14 digits.
local message = string.format('%.0f|%.0f|', global_id, id) .. ARGV[3]
local pointer = string.format('%.0f|', id) .. ARGV[2]
redis.call('ZADD', backlog_key, id, message)
redis.call('ZADD', pointers_key, global_id, pointer)

local announced = redis.pcall('PUBLISH', ARGV[1], message)
if type(announced) == 'table' and announced.err then
  -- The user may write the keys but not this pub/sub channel, which only trying shows.
  redis.call('ZREM', backlog_key, message)
  redis.call('ZREM', pointers_key, pointer)
  redis.call('DECR', global_key)
  if last then redis.call('DECR', id_key) else redis.call('DEL', id_key) end
  return announced
end

-- Id key and backlog live equally long. A message that is short-lived does not
-- shorten the life of all the others' pointers.
redis.call('EXPIRE', backlog_key, age)
redis.call('EXPIRE', id_key, age)
if lifetime == -2 or (lifetime >= 0 and age * 1000 > lifetime) then
  redis.call('EXPIRE', pointers_key, age)
end

if id > size and id % every == 0 then
  redis.call('ZREMRANGEBYSCORE', backlog_key, '-inf', id - size)
end
if global_id > global_size and global_id % every == 0 then
  redis.call('ZREMRANGEBYSCORE', pointers_key, '-inf', global_id - global_size)
end
return {global_id, id}
