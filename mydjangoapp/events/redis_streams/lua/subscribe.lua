-- subscribe: make a channel, or what is missing of one that is subscribed already.
--
-- KEYS  1 events:{topic}  2 events:{topic}:{channel}:again  3 events:{topic}:channels
-- ARGV  1 channel  2 '$' (from now) or '0' (from the beginning)
-- Returns 1 if the channel is new, else 0
--
-- Atomic, so that two who subscribe at once agree on where it begins; the position of a channel whose
-- group was deleted is the one it had. O(channels).
local main, again, channels = unpack(KEYS)
local channel, begin_at = ARGV[1], ARGV[2]
local function position(stream)
  if redis.call('EXISTS', stream) == 0 then return nil end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local name, last
    for i = 1, #group, 2 do
      if group[i] == 'name' then name = group[i + 1] end
      if group[i] == 'last-delivered-id' then last = group[i + 1] end
    end
    if name == channel then return last end
  end
end

local known = redis.call('HGET', channels, channel)
if not position(main) then
  redis.call('XGROUP', 'CREATE', main, channel, known or begin_at, 'MKSTREAM')
end
if not position(again) then
  redis.call('XGROUP', 'CREATE', again, channel, '0', 'MKSTREAM')
end
if known then return 0 end
redis.call('HSET', channels, channel, position(main))
return 1
