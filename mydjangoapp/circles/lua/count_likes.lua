-- count_likes: count likes in the ranking of their day, or take them back.
--
-- KEYS  1 circle:{circle}:hot:{day}  2 circle:{circle}:hot:{day}:likes
-- ARGV  1 when the ranking goes (seconds, Unix), then for each like:
--       photo, user, like id (grows with each like), '1': counts or '0': was taken back
-- Returns by how much the scores have changed in all
--
-- Atomic, and may be called any number of times in any order: of one user's likes of a photo the latest
-- counts, and of one like that it was taken back. O(likes log n).
local hot, counted_likes = KEYS[1], KEYS[2]
local expires_at = ARGV[1]
local sum = 0
for i = 2, #ARGV, 4 do
  local photo, field, like, state = ARGV[i], ARGV[i] .. ':' .. ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local known = redis.call('HGET', counted_likes, field)
  local id, counted = '', '0'
  if known then id, counted = string.match(known, '(%d+):(%d)') end
  local newer = not known or tonumber(id) < tonumber(like)
  if newer or (id == like and counted == '1' and state == '0') then
    redis.call('HSET', counted_likes, field, like .. ':' .. state)
    local change = tonumber(state) - tonumber(counted)
    if change ~= 0 then
      redis.call('ZADD', hot, 'NX', 1, photo)
      redis.call('ZINCRBY', hot, change, photo)
      sum = sum + change
    end
  end
end
redis.call('EXPIREAT', hot, expires_at)
redis.call('EXPIREAT', counted_likes, expires_at)
return sum
