-- What can be said of channels without bringing their messages here. It only reads.
--
-- KEYS  last global id, global backlog; then for each channel its id, its backlog
-- ARGV  how much of a message may be returned, how many pointers
-- Returns for each pair: types, id, lives in s (-1 for ever, -2 gone), count, and
-- [score, size, beginning] of the oldest and the newest member; then pointers.
local most, pointers = tonumber(ARGV[1]), tonumber(ARGV[2])

local function kind(key) return redis.call('TYPE', key).ok end

local function peek(key, place)
  local found = redis.call('ZRANGE', key, place, place, 'WITHSCORES')
  local text = found[1] or ''
  return {found[2] or '', #text, string.sub(text, 1, most)}
end

local function pair(id, backlog)
  local one = {kind(id), kind(backlog), '', redis.call('TTL', id), redis.call('TTL', backlog), 0}
  if one[1] == 'string' then one[3] = redis.call('GETRANGE', id, 0, 40) end
  if one[2] == 'zset' then
    one[6] = redis.call('ZCARD', backlog)
    one[7], one[8] = peek(backlog, 0), peek(backlog, -1)
  end
  return one
end

local all = {}
for i = 1, #KEYS, 2 do all[#all + 1] = pair(KEYS[i], KEYS[i + 1]) end
local newest = {}
if pointers > 0 and kind(KEYS[2]) == 'zset' then
  local found = redis.call('ZREVRANGE', KEYS[2], 0, pointers - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    newest[#newest + 1] = {found[i + 1], #found[i], string.sub(found[i], 1, 600)}
  end
end
return {all, newest}
