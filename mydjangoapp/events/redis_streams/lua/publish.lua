-- publish: append messages to a topic.
--
-- KEYS  1 events:topics  2 events:{topic}
-- ARGV  1 topic, then for each message: id, action, body, published_at
-- Returns the number of messages the stream has now
--
-- Atomic, so that a batch is published whole or not at all. O(messages).
redis.call('SADD', KEYS[1], ARGV[1])
for i = 2, #ARGV, 4 do
  redis.call('XADD', KEYS[2], '*', 'id', ARGV[i], 'action', ARGV[i + 1], 'body', ARGV[i + 2],
    'published_at', ARGV[i + 3])
end
return redis.call('XLEN', KEYS[2])
