-- begin_again: a node that has taken pushes of this fan-out may have lost them. All followers are served once
-- more, and each push looks whether the photo is there. For a cluster.
--
-- KEYS  1 fanout  2 followers  3 followers-state  4 fanouts, all of the author
-- ARGV  1 photo
-- Returns 1, or 0 if the fan-out has not ended: begun again by somebody else, or cancelled
--
-- Atomic, so that of many callers one begins it. O(1).
local fanout, followers, list_state, under_way = unpack(KEYS)
if redis.call('HEXISTS', fanout, 'ended') == 0 then return 0 end
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
redis.call('HDEL', fanout, 'ended', 'lives')
redis.call('HSET', fanout, 'cursor', 0, 'guard', 1, 'open', '', 'sent', -1, 'done', 0, 'attempted', 0,
  'reached', 0, 'gone', 0, 'refused', 0, 'total', redis.call('LLEN', followers), 'beat', now,
  'generation', redis.call('HGET', list_state, 'generation') or '')
redis.call('SADD', under_way, ARGV[1])
return 1
