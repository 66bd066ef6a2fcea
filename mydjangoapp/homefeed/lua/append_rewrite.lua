-- append_rewrite: add rows read from SQL to the next follower list.
--
-- KEYS  1 followers-rewrite  2 followers-next  3 followers-next-marks, all :{author}
-- ARGV  1 token  2 id of the last row of the call before this one  3 id of the last row here
--       4.. followers
-- Returns "appended", or "lost" (another rewrite has taken over)
--
-- A follower with a mark has changed since the rewrite began: the change has put it in its place.
-- Atomic with the row id, so that a call that is repeated adds nothing. O(rows), 1 microsecond each.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 'lost' end
local time = redis.call('TIME')
if redis.call('HGET', KEYS[1], 'copied') == ARGV[2] then
  local marked = redis.call('EXISTS', KEYS[3]) == 1
  for i = 4, #ARGV do
    if not marked or redis.call('HEXISTS', KEYS[3], ARGV[i]) == 0 then
      redis.call('RPUSH', KEYS[2], ARGV[i])
    end
  end
end
redis.call('HSET', KEYS[1], 'copied', ARGV[3], 'beat', time[1] + time[2] / 1000000)
return 'appended'
