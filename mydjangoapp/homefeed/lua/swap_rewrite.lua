-- swap_rewrite: put the next follower list in the place of the present one.
--
-- KEYS  1 followers  2 followers-marks  3 followers-state  4 followers-rewrite  5 followers-next
--       6 followers-next-marks  7 fanouts, all :{author}
-- ARGV  1 token  2 highest version that SQL had  3 new generation  4 "1" if copied from the list
-- Returns "swapped", "more" (entries came in meanwhile: copy on), "busy" (a fan-out has begun, its
--   cursor points into the present list; the rewrite is given up) or "lost"
--
-- Atomic, so that no change falls between the lists. O(1): the old list is freed in the background.
if redis.call('HGET', KEYS[3], 'generation') == ARGV[3] then return 'swapped' end  -- a call that is repeated
if redis.call('HGET', KEYS[4], 'token') ~= ARGV[1] then return 'lost' end
local live = redis.call('EXISTS', KEYS[1]) == 1
if live and redis.call('SCARD', KEYS[7]) > 0 then
  redis.call('UNLINK', KEYS[4], KEYS[5], KEYS[6])
  return 'busy'
end
local r = redis.call('HMGET', KEYS[4], 'copied', 'upto')
if ARGV[4] == '1' and tonumber(r[1]) < redis.call('LLEN', KEYS[1]) then return 'more' end
redis.call('UNLINK', KEYS[1], KEYS[2])
if redis.call('EXISTS', KEYS[5]) == 1 then redis.call('RENAME', KEYS[5], KEYS[1]) end
if redis.call('EXISTS', KEYS[6]) == 1 then redis.call('RENAME', KEYS[6], KEYS[2]) end
local upto = math.max(tonumber(r[2]), tonumber(ARGV[2]))
local top = math.max(tonumber(redis.call('HGET', KEYS[3], 'top') or 0), upto)
redis.call('HSET', KEYS[3], 'generation', ARGV[3], 'upto', string.format('%.0f', upto),
  'top', string.format('%.0f', top))
redis.call('DEL', KEYS[4])
return 'swapped'
