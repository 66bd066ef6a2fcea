-- swap_rewrite: put the next follower list in the place of the present one.
--
-- KEYS  1 followers  2 followers-marks  3 followers-state  4 followers-rewrite  5 followers-next
--       6 followers-next-marks  7 fanouts, all :{author}
-- ARGV  1 token  2 highest version that SQL had  3 new generation  4 "1" if copied from the list
-- Returns "swapped", "more" (entries came in meanwhile: copy on), "busy" (a fan-out has begun, its
--   cursor points into the present list; the rewrite is given up) or "lost"
--
-- Atomic, so that no change falls between the lists. O(1): the old list is freed in the background.
local followers, list_marks, list_state, rewrite, next_followers, next_marks, under_way = unpack(KEYS)
local token, highest_version, generation, is_copy = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- A call that is repeated.
if redis.call('HGET', list_state, 'generation') == generation then return 'swapped' end
if redis.call('HGET', rewrite, 'token') ~= token then return 'lost' end
local live = redis.call('EXISTS', followers) == 1
if live and redis.call('SCARD', under_way) > 0 then
  redis.call('UNLINK', rewrite, next_followers, next_marks)
  return 'busy'
end
local r = redis.call('HMGET', rewrite, 'copied', 'upto')
if is_copy == '1' and tonumber(r[1]) < redis.call('LLEN', followers) then return 'more' end
redis.call('UNLINK', followers, list_marks)
if redis.call('EXISTS', next_followers) == 1 then redis.call('RENAME', next_followers, followers) end
if redis.call('EXISTS', next_marks) == 1 then redis.call('RENAME', next_marks, list_marks) end
local upto = math.max(tonumber(r[2]), tonumber(highest_version))
local top = math.max(tonumber(redis.call('HGET', list_state, 'top') or 0), upto)
redis.call('HSET', list_state, 'generation', generation, 'upto', string.format('%.0f', upto),
  'top', string.format('%.0f', top))
redis.call('DEL', rewrite)
return 'swapped'
