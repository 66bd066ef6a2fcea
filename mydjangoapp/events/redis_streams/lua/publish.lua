-- publish: append messages to a topic.
--
-- KEYS  1 events:{topic}:receipts  2 events:{topic}
-- ARGV  1 receipt of the row of the outbox, or '', then for each message:
--       id, action, body, published_at
-- Returns the number of messages the stream has now
--
-- Atomic, so that a batch is published whole or not at all, and a crash that takes messages back takes the
-- receipt back, too. O(messages).
local receipts, stream = unpack(KEYS)
local receipt = ARGV[1]
for i = 2, #ARGV, 4 do
  redis.call('XADD', stream, '*', 'id', ARGV[i], 'action', ARGV[i + 1], 'body', ARGV[i + 2],
    'published_at', ARGV[i + 3])
end
if receipt ~= '' then
  local time = redis.call('TIME')
  redis.call('ZADD', receipts, string.format('%.6f', time[1] + time[2] / 1000000), receipt)
end
return redis.call('XLEN', stream)
