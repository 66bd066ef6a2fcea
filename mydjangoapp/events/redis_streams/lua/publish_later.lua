-- publish_later: keep messages until they are due; `sweep` appends them to the topic then.
--
-- KEYS  1 events:topics  2 events:{topic}:later
-- ARGV  1 topic  2 delay in ms, then for each message: id, action, body, published_at
-- Returns 1
--
-- The time is this server's. O(messages log n).
redis.call('SADD', KEYS[1], ARGV[1])
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
for i = 3, #ARGV, 4 do
  redis.call('ZADD', KEYS[2], due, cjson.encode({ ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], '0' }))
end
return 1
