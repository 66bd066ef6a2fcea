-- remove: take a photo out of the home feeds of the next few followers.
--
-- KEYS  1 followers:{author}
-- ARGV  1 photo  2 what precedes a user id in homefeed: keys  3 first index  4 last index
-- Returns how many followers there were
--
-- May be repeated, and may leave some out: readers ask the truth anyway. O(followers * MAX_LENGTH),
-- some 15 microseconds each: 50 hold Redis for under 1 ms.
local users = redis.call('LRANGE', KEYS[1], ARGV[3], ARGV[4])
for _, user in ipairs(users) do
  redis.pcall('LREM', ARGV[2] .. user, 0, ARGV[1])
end
return #users
