-- sweep: bring back what is due, and claim one message that was taken too long ago.
--
-- KEYS  1 events:{topic}  2 events:{topic}:{channel}:again  3 events:{topic}:{channel}:later
--       4 events:{topic}:later
-- ARGV  1 channel  2 consumer  3 time-out in ms  4 at most so many are brought back
-- Returns {ms until something is due, -1 if nothing waits; number of the stream in KEYS, 0 if none was
-- claimed; entry id; fields; times it was delivered}
--
-- One at a time, because its last taker may have died of it: claiming counts a delivery, and what is claimed
-- beside it would be counted with each death until all are dead letters.
-- Atomic, so that of any number of sweepers one moves or claims a message. The times are this server's.
-- O(what is moved and what is in the consumers' hands): some 0.1 ms for 1,000.
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

local function claim(stream)
  for _ = 1, 10 do
    local late = redis.call('XPENDING', stream, group, 'IDLE', timeout, '-', '+', 1)[1]
    if not late then return nil end
    local entry = redis.call('XCLAIM', stream, group, consumer, timeout, late[1])[1]
    if entry and entry[2] then return { entry[1], entry[2], late[4] + 1 } end
    redis.call('XACK', stream, group, late[1])  -- somebody deleted the entry
  end
end

bring_back(KEYS[4], KEYS[1])
bring_back(KEYS[3], KEYS[2])
for number = 1, 2 do
  local found = claim(KEYS[number])
  if found then return { wait, number, found[1], found[2], found[3] } end
end
return { wait, 0, '', {}, 0 }
