-- copy_rewrite: copy the living among the next few entries of a follower list to its successor.
--
-- KEYS  1 followers  2 followers-marks  3 followers-rewrite  4 followers-next
--       5 followers-next-marks, all :{author}
-- ARGV  1 token  2 how many entries
-- Returns the number of entries that are left to copy, -1 if another rewrite has taken over
--
-- Atomic with the position, so that a call that is repeated goes on instead of copying twice.
-- O(entries), about 1.5 microseconds each; 500 hold Redis for under 1 ms.
if redis.call('HGET', KEYS[3], 'token') ~= ARGV[1] then return -1 end
local copied = tonumber(redis.call('HGET', KEYS[3], 'copied'))
local users = redis.call('LRANGE', KEYS[1], copied, copied + tonumber(ARGV[2]) - 1)
if #users > 0 then
  local marks = redis.call('HMGET', KEYS[2], unpack(users))
  local changed = redis.call('HMGET', KEYS[5], unpack(users))
  for i = 1, #users do
    local bound = marks[i] and tonumber(string.match(marks[i], '^%d+')) or 0
    if copied + i - 1 >= bound and not changed[i] then redis.call('RPUSH', KEYS[4], users[i]) end
  end
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[3], 'copied', copied + #users, 'beat', time[1] + time[2] / 1000000)
return redis.call('LLEN', KEYS[1]) - copied - #users
