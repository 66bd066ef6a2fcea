-- append_rewrite: add rows read from SQL to the next follower list.
--
-- KEYS  1 followers-rewrite  2 followers-next  3 followers-next-marks, all :{author}
-- ARGV  1 token  2 id of the last row of the call before this one  3 id of the last row here
--       4.. followers
-- Returns "appended", or "lost" (another rewrite has taken over)
--
-- A follower with a mark has changed since the rewrite began: the change has put it in its place.
-- Atomic with the row id, so that a call that is repeated adds nothing. O(rows), 1 microsecond each.
local rewrite, next_followers, next_marks = unpack(KEYS)
local token, last_before, last_row = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', rewrite, 'token') ~= token then return 'lost' end
local time = redis.call('TIME')
if redis.call('HGET', rewrite, 'copied') == last_before then
  local marked = redis.call('EXISTS', next_marks) == 1
  for i = 4, #ARGV do
    if not marked or redis.call('HEXISTS', next_marks, ARGV[i]) == 0 then
      redis.call('RPUSH', next_followers, ARGV[i])
    end
  end
end
redis.call('HSET', rewrite, 'copied', last_row, 'beat', time[1] + time[2] / 1000000)
return 'appended'
