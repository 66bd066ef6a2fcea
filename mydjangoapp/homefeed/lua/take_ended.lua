-- take_ended: fan-outs that ended long enough ago.
--
-- KEYS  1 fanouts-ended
-- ARGV  named below
-- Returns {their members of the set, the oldest end first, how many are in the set altogether}
--
-- They stay in the set until `retire`, so a caller that dies loses nothing. An end in the future was noted
-- before this server's clock was set back: it counts from now on.
-- Atomic, because an end that is moved must not be one that has just been noted anew.
-- O(most), about a microsecond each.
local ended_set = KEYS[1]
local settle_seconds, most = tonumber(ARGV[1]), tonumber(ARGV[2])

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local now_text = string.format('%.6f', now)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', ended_set, '(' .. now_text, '+inf', 'LIMIT', 0, most)) do
  redis.call('ZADD', ended_set, now_text, member)
end
local before = string.format('%.6f', now - settle_seconds)
local members = redis.call('ZRANGEBYSCORE', ended_set, '-inf', before, 'LIMIT', 0, most)
return {members, redis.call('ZCARD', ended_set)}
