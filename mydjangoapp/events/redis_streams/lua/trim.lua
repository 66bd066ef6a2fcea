-- trim: cut the oldest messages off that every channel has finished.
--
-- KEYS  1 events:{topic}  2 events:{topic}:channels
-- ARGV  1 so many are kept at least  2 at most so many are cut off
-- Returns how many were cut off
--
-- Atomic, so that no channel can begin in between. What a channel has not been given, or has in hand, stays,
-- however much that is. Cuts whole nodes of the stream (about 100 messages). O(channels + what is cut).
local stream, channels = KEYS[1], KEYS[2]
local keep, most = ARGV[1], ARGV[2]
local surplus = redis.call('XLEN', stream) - keep
if surplus <= 0 then return 0 end
surplus = math.min(surplus, tonumber(most))

local safe, safe_ms, safe_sequence  -- everything below this id is finished in every channel
local function keep_from(id)
  local ms, sequence = string.match(id, '(%d+)-(%d+)')
  ms, sequence = tonumber(ms), tonumber(sequence)
  if not safe or ms < safe_ms or (ms == safe_ms and sequence < safe_sequence) then
    safe, safe_ms, safe_sequence = id, ms, sequence
  end
end

local there = {}
for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local of = {}
  for i = 1, #group, 2 do of[group[i]] = group[i + 1] end
  there[of['name']] = true
  keep_from(of['last-delivered-id'])
  if of['pending'] > 0 then keep_from(redis.call('XPENDING', stream, of['name'])[2]) end
end
local known = redis.call('HGETALL', channels)
for i = 1, #known, 2 do
  if not there[known[i]] then keep_from(known[i + 1]) end
end
if not safe then return redis.call('XTRIM', stream, 'MAXLEN', '~', keep, 'LIMIT', surplus) end
return redis.call('XTRIM', stream, 'MINID', '~', safe, 'LIMIT', surplus)
