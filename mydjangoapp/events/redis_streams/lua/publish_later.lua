-- publish_later: keep messages until they are due; `sweep` appends them to the topic then.
--
-- KEYS  1 events:topics  2 events:receipts  3 events:{topic}:later
-- ARGV  1 topic  2 receipt of the row of the outbox, or ''  3 delay in ms, then for each message:
--       id, action, body, published_at
-- Returns 1
--
-- Atomic as `publish` is. The time is this server's. O(messages log n).
local topics, receipts, later = unpack(KEYS)
local topic, receipt, delay_ms = ARGV[1], ARGV[2], ARGV[3]
redis.call('SADD', topics, topic)
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + delay_ms
for i = 4, #ARGV, 4 do
  redis.call('ZADD', later, due, cjson.encode({ ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], '0' }))
end
if receipt ~= '' then
  redis.call('ZADD', receipts, string.format('%.6f', time[1] + time[2] / 1000000), receipt)
end
return 1
