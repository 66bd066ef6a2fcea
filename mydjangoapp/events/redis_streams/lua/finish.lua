-- finish: acknowledge messages of a channel and remember their ids.
--
-- KEYS  1 events:{topic}  2 events:{topic}:{channel}:again  3 events:{topic}:{channel}:done
--       4 events:{topic}:channels
-- ARGV  1 channel  2 seconds to remember  3 number of entries of KEYS[1]  4 number of entries of KEYS[2],
--       then these entries' ids, then the messages' ids to remember
-- Returns 1
--
-- Atomic: what is remembered is acknowledged, and what is acknowledged is remembered. The oldest that are
-- remembered go, twice as many as come. O(messages log n).
local stream, again, done, channels = unpack(KEYS)
local group, remember_seconds = ARGV[1], ARGV[2]
local first, second = tonumber(ARGV[3]), tonumber(ARGV[4])  -- entries of `stream`, and of `again`
local time = redis.call('TIME')
local highest

local function less(one, other)
  local a, b = string.match(one, '(%d+)-(%d+)')
  local c, d = string.match(other, '(%d+)-(%d+)')
  return tonumber(a) < tonumber(c) or (a == c and tonumber(b) < tonumber(d))
end

for i = 5, 4 + first do
  redis.call('XACK', stream, group, ARGV[i])
  if not highest or less(highest, ARGV[i]) then highest = ARGV[i] end
end
for i = 5 + first, 4 + first + second do
  redis.call('XACK', again, group, ARGV[i])
  redis.call('XDEL', again, ARGV[i])
end

local remembered = #ARGV - 4 - first - second
for i = 5 + first + second, #ARGV do redis.call('ZADD', done, time[1], ARGV[i]) end
if remembered > 0 then
  local old = redis.call('ZRANGEBYSCORE', done, '-inf', time[1] - remember_seconds, 'LIMIT', 0, 2 * remembered)
  if #old > 0 then redis.call('ZREMRANGEBYRANK', done, 0, #old - 1) end
  redis.call('EXPIRE', done, remember_seconds)
end

-- Where the group is to begin if somebody deletes it: right before the first that is not finished.
if highest then
  local pending = redis.pcall('XPENDING', stream, group)
  if pending.err then return 1 end  -- the group was deleted: the next consumer that takes makes it again
  local position = highest
  if pending[1] > 0 then
    local ms, sequence = string.match(pending[2], '(%d+)-(%d+)')
    if sequence == '0' then
      position = string.format('%.0f', ms - 1) .. '-18446744073709551615'
    else
      position = ms .. '-' .. string.format('%.0f', sequence - 1)
    end
  end
  local known = redis.call('HGET', channels, group)
  if known and less(known, position) then redis.call('HSET', channels, group, position) end
end
return 1
