-- take_ended: fan-outs that ended long enough ago, with what the ledger is to be told of them.
--
-- KEYS  1 fanouts-ended
-- ARGV  named below
-- Returns {those fan-outs, how many are in the set altogether}; of each, the oldest end first,
--   {photo, author, cursor, reached, total, attempts, started, ended}
--
-- They stay in the set until `retire`, so a caller that dies loses nothing. One whose hash is gone was
-- cancelled, or is begun again by the rescue: it leaves the set. An end in the future was noted before this
-- server's clock was set back: it counts from now on.
-- Atomic, because an end that is moved must not be one that has just been noted anew.
-- O(most), about a microsecond each.
local ended_set = KEYS[1]
local settle_seconds, most, FANOUT = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local now_text = string.format('%.6f', now)
for _, photo in ipairs(redis.call('ZRANGEBYSCORE', ended_set, '(' .. now_text, '+inf', 'LIMIT', 0, most)) do
  redis.call('ZADD', ended_set, now_text, photo)
end
local before = string.format('%.6f', now - settle_seconds)
local results = {}
for _, photo in ipairs(redis.call('ZRANGEBYSCORE', ended_set, '-inf', before, 'LIMIT', 0, most)) do
  local f = redis.pcall('HMGET', FANOUT .. photo, 'author', 'cursor', 'reached', 'total', 'attempts',
    'started', 'ended')
  if f.err or not f[7] then
    redis.call('ZREM', ended_set, photo)
  else
    results[#results + 1] = {photo, f[1], f[2], f[3], f[4], f[5] or '0', f[6], f[7]}
  end
end
return {results, redis.call('ZCARD', ended_set)}
