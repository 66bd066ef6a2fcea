-- note_taken: a worker has taken a message from the broker's queue. What claim.lua does where queue and fan-out
-- are on one server; its fields are told there.
--
-- KEYS  1 queue
-- ARGV  1 when the message was sent: the sender's clock, 0 if unknown
-- Returns 1
--
-- Atomic, so that the front never goes back. O(1).
local queue, sent_at = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local front = tonumber(redis.call('HGET', queue, 'front') or 0)
redis.call('HSET', queue, 'moved', now, 'probes', 0, 'front', math.max(front, math.min(sent_at, now)))
return 1
