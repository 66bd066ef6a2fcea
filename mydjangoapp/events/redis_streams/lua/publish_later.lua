-- publish_later: keep messages until they are due; `sweep` appends them to the topic then.
--
-- KEYS  1 events:{topic}:receipts  2 events:{topic}:later
-- ARGV  1 receipt of the row of the outbox, or ''  2 delay in ms, then for each message:
--       id, action, body, published_at
-- Returns 1
--
-- Atomic as `publish` is. The time is this server's. O(messages log n).
local receipts, later = unpack(KEYS)
local receipt, delay_ms = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + delay_ms
for i = 3, #ARGV, 4 do
  redis.call('ZADD', later, due, cjson.encode({ ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], '0' }))
end
if receipt ~= '' then
  redis.call('ZADD', receipts, string.format('%.6f', time[1] + time[2] / 1000000), receipt)
end
return 1
