-- leave: forget consumers that have nothing in hand.
--
-- KEYS  1 events:{topic}  2 events:{topic}:{channel}:again
-- ARGV  1 channel  2 this consumer, or ''  3 any that has not asked for so many ms
-- Returns how many were forgotten
--
-- Atomic: forgetting a consumer forgets what it has in hand, so it is looked at in the same step. O(consumers).
local group, this_consumer, idle_ms = ARGV[1], ARGV[2], ARGV[3]
local forgotten = 0
for _, stream in ipairs(KEYS) do
  -- pcall: the group may have been deleted.
  for _, consumer in ipairs(redis.pcall('XINFO', 'CONSUMERS', stream, group)) do
    local of = {}
    for i = 1, #consumer, 2 do of[consumer[i]] = consumer[i + 1] end
    if of['pending'] == 0 and (of['name'] == this_consumer or of['idle'] > tonumber(idle_ms)) then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, of['name'])
      forgotten = forgotten + 1
    end
  end
end
return forgotten
