-- publish_later: keep messages until they are due; `sweep` appends them to the topic then.
--
-- KEYS  1 events:topics  2 events:receipts  3 events:{topic}:later
-- ARGV  1 topic  2 receipt of the row of the outbox, or ''  3 delay in ms, then for each message:
--       id, action, body, published_at
-- Returns 1
--
-- Atomic as `publish` is. The time is this server's. O(messages log n).
redis.call('SADD', KEYS[1], ARGV[1])
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
for i = 4, #ARGV, 4 do
  redis.call('ZADD', KEYS[3], due, cjson.encode({ ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], '0' }))
end
if ARGV[2] ~= '' then
  redis.call('ZADD', KEYS[2], string.format('%.6f', time[1] + time[2] / 1000000), ARGV[2])
end
return 1
