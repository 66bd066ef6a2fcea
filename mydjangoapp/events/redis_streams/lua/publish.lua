-- publish: append messages to a topic.
--
-- KEYS  1 events:topics  2 events:receipts  3 events:{topic}
-- ARGV  1 topic  2 receipt of the row of the outbox, or '', then for each message:
--       id, action, body, published_at
-- Returns the number of messages the stream has now
--
-- Atomic, so that a batch is published whole or not at all, and a crash that takes messages back takes the
-- receipt back, too. O(messages).
redis.call('SADD', KEYS[1], ARGV[1])
for i = 3, #ARGV, 4 do
  redis.call('XADD', KEYS[3], '*', 'id', ARGV[i], 'action', ARGV[i + 1], 'body', ARGV[i + 2],
    'published_at', ARGV[i + 3])
end
if ARGV[2] ~= '' then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], string.format('%.6f', time[1] + time[2] / 1000000), ARGV[2])
end
return redis.call('XLEN', KEYS[3])
