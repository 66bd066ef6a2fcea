-- sweep: bring back what is due, and claim what was taken too long ago.
--
-- KEYS  1 events:{topic}  2 events:{topic}:{channel}:again  3 events:{topic}:{channel}:later
--       4 events:{topic}:later
-- ARGV  1 channel  2 consumer  3 time-out in ms  4 at most so many of each
--       5, 6 where the last sweep has come to in the two streams ('0-0' at first)
-- Returns {ms until something is due, -1 if nothing waits; for each stream {cursor, entries}}, an entry is
-- {entry id, fields, times it was delivered}
--
-- Atomic, so that of any number of sweepers one moves or claims a message. The times are this server's.
-- O(what is moved and claimed, and ten times ARGV[4] looked at).
local group, consumer, timeout, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = -1

local function bring_back(later, stream)
  local due = redis.call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, most)
  for _, member in ipairs(due) do
    local message = cjson.decode(member)
    redis.call('XADD', stream, '*', 'id', message[1], 'action', message[2], 'body', message[3],
      'published_at', message[4], 'attempts', message[5])
  end
  if #due > 0 then redis.call('ZREMRANGEBYRANK', later, 0, #due - 1) end
  local following = redis.call('ZRANGE', later, 0, 0, 'WITHSCORES')
  if following[2] then
    local left = math.max(0, following[2] - now)
    if wait < 0 or left < wait then wait = left end
  end
end

local function claim(stream, cursor)
  local found = redis.call('XAUTOCLAIM', stream, group, consumer, timeout, cursor, 'COUNT', most)
  local entries = {}
  for _, entry in ipairs(found[2]) do
    -- Redis 6.2 returns nothing in the place of an entry that was deleted.
    if entry and entry[2] then
      local pending = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
      entries[#entries + 1] = { entry[1], entry[2], pending[1][4] }
    end
  end
  return { found[1], entries }
end

bring_back(KEYS[4], KEYS[1])
bring_back(KEYS[3], KEYS[2])
local again = claim(KEYS[2], ARGV[6])
return { wait, claim(KEYS[1], ARGV[5]), again }
