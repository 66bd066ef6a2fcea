-- begin_rewrite: reserve the rewrite of a follower list (rebuild from SQL, or compaction).
--
-- KEYS  1 followers  2 followers-state  3 followers-rewrite  4 followers-next
--       5 followers-next-marks  6 fanouts, all of the author
-- ARGV  1 token  2 lease, seconds  3 "1" if the list must be there (compaction)
--       4 what precedes a photo id in fanout keys of this author
-- Returns "begun", "held" (another rewrite is alive) or "not now" (a fan-out is under way, or no list)
--
-- Atomic, so that one rewrite at a time owns the next list. O(fan-outs under way): a few; what an
-- abandoned rewrite left is freed in the background.
local followers, list_state, rewrite, next_followers, next_marks, under_way = unpack(KEYS)
local token, lease, must_exist, FANOUT = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
if redis.call('HGET', rewrite, 'token') == token then return 'begun' end
local beat = redis.call('HGET', rewrite, 'beat')
local idle = beat and now - tonumber(beat)
-- Below zero: this server's clock was set back, and nobody knows how old the beat is.
if idle and idle >= 0 and idle < tonumber(lease) then return 'held' end
local live = redis.call('EXISTS', followers) == 1
if must_exist == '1' and not live then return 'not now' end
if live then
  for _, photo in ipairs(redis.call('SMEMBERS', under_way)) do
    if redis.call('EXISTS', FANOUT .. photo) == 1 then return 'not now' end
    redis.call('SREM', under_way, photo)  -- its state was lost: it begins anew, if at all
  end
end
redis.call('UNLINK', next_followers, next_marks)
redis.call('HSET', rewrite, 'token', token, 'copied', 0, 'beat', now,
  'upto', redis.call('HGET', list_state, 'top') or 0)
return 'begun'
