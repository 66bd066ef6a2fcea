-- status: how far a channel is.
--
-- KEYS  1 events:{topic}  2 events:{topic}:{channel}:again  3 events:{topic}:{channel}:later
--       4 events:{topic}:{channel}:dead  5 events:{topic}:channels
-- ARGV  1 channel
-- Returns {waiting, in hand, deferred, dead, published_at of the oldest that is not finished or ''}
--
-- Atomic, so that the figures are of one moment. O(groups). Up to 100 messages are read where the server does
-- not count for itself (Redis 6.2, a group that has not taken anything yet); beyond that the number is an
-- estimate, by the time that has passed between the first, the last taken and the last message.
local group, waiting, in_hand, oldest = ARGV[1], 0, 0, ''

local function published(entries)
  if not entries[1] then return end
  local fields = entries[1][2]
  for i = 1, #fields, 2 do
    if fields[i] == 'published_at' and (oldest == '' or fields[i + 1] < oldest) then oldest = fields[i + 1] end
  end
end

local function ms(id) return tonumber(string.match(id, '%d+')) end

local function look(stream)
  local last = stream == KEYS[1] and redis.call('HGET', KEYS[5], group) or '0-0'
  local behind
  if redis.call('EXISTS', stream) == 1 then
    for _, found in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
      local of = {}
      for i = 1, #found, 2 do of[found[i]] = found[i + 1] end
      if of['name'] == group then
        last, behind = of['last-delivered-id'], of['lag']
        in_hand = in_hand + of['pending']
        if of['pending'] > 0 then
          local first = redis.call('XPENDING', stream, group)[2]
          published(redis.call('XRANGE', stream, first, first))
        end
      end
    end
    published(redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1))
  end
  if not behind then
    behind = #redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 100)
    if behind == 100 then
      local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
      local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
      local from, upto, at = ms(first[1]), ms(newest[1]), ms(last)
      local share = upto > from and math.min(1, (upto - at) / (upto - from)) or 1
      behind = math.max(100, math.floor(redis.call('XLEN', stream) * share))
    end
  end
  waiting = waiting + behind
end

look(KEYS[1])
look(KEYS[2])
local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
if first then
  local at = cjson.decode(first)[4]
  if oldest == '' or at < oldest then oldest = at end
end
return { waiting, in_hand, redis.call('ZCARD', KEYS[3]), redis.call('XLEN', KEYS[4]), oldest }
