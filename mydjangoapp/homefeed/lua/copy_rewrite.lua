-- copy_rewrite: copy the living among the next few entries of a follower list to its successor.
--
-- KEYS  1 followers  2 followers-marks  3 followers-rewrite  4 followers-next
--       5 followers-next-marks, all :{author}
-- ARGV  1 token  2 how many entries
-- Returns the number of entries that are left to copy, -1 if another rewrite has taken over
--
-- Atomic with the position, so that a call that is repeated goes on instead of copying twice.
-- O(entries), about 1.5 microseconds each; 500 hold Redis for under 1 ms.
local followers, list_marks, rewrite, next_followers, next_marks = unpack(KEYS)
local token, number = ARGV[1], ARGV[2]
if redis.call('HGET', rewrite, 'token') ~= token then return -1 end
local copied = tonumber(redis.call('HGET', rewrite, 'copied'))
local users = redis.call('LRANGE', followers, copied, copied + tonumber(number) - 1)
if #users > 0 then
  local marks = redis.call('HMGET', list_marks, unpack(users))
  local changed = redis.call('HMGET', next_marks, unpack(users))
  for i = 1, #users do
    local bound = marks[i] and tonumber(string.match(marks[i], '^%d+')) or 0
    if copied + i - 1 >= bound and not changed[i] then redis.call('RPUSH', next_followers, users[i]) end
  end
end
local time = redis.call('TIME')
redis.call('HSET', rewrite, 'copied', copied + #users, 'beat', time[1] + time[2] / 1000000)
return redis.call('LLEN', followers) - copied - #users
