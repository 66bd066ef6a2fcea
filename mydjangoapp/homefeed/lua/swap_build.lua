-- swap_build: put the home feed that was built from SQL in its place.
--
-- KEYS  1 homefeed-build  2 token  3 homefeed  4 floor, all of the user
-- ARGV  1 token  2 "1" if there was a list when the build began  3 floor of what was read
--       4 MAX_LENGTH  5 ids above it before a trim  6 seconds until an unread feed expires, or ""
--       7... photo ids, newest first
-- Returns 1 if it was swapped in, 0 if a change came in between: the next reader builds again
--
-- The result is the union with what is in the list now: a photo may have been committed after SQL
-- was read, with a lower id. Too much does no harm, the reader asks the truth. Atomic, so that no
-- push falls between reading the list and replacing it. O(N log N) of some 1,600 ids: about 1 ms.
local build, token_key, homefeed, floor_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, had_list, floor_of_sql, max_length = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local slack, expires_in = ARGV[5], ARGV[6]
redis.call('DEL', build)
if redis.call('GET', token_key) ~= token then return 0 end
local present = redis.call('LRANGE', homefeed, 0, -1)
if had_list == '1' and #present == 0 then return 0 end
redis.call('DEL', token_key)

local floor, keep, ids, seen = tonumber(floor_of_sql), tonumber(max_length), {}, {}
local function add(id)
  id = tonumber(id)
  if id and not seen[id] then
    seen[id] = true
    ids[#ids + 1] = id
  end
end
for i = 7, #ARGV do add(ARGV[i]) end
for _, id in ipairs(present) do add(id) end
if #ids == 0 then return 0 end
table.sort(ids, function(a, b) return a > b end)
if #ids > keep + tonumber(slack) then
  floor = math.max(floor, ids[keep + 1] + 1)
  for i = #ids, keep + 1, -1 do ids[i] = nil end
end
redis.call('DEL', homefeed)
for from = 1, #ids, 1000 do
  local some = {}
  for i = from, math.min(from + 999, #ids) do some[#some + 1] = string.format('%.0f', ids[i]) end
  redis.call('RPUSH', homefeed, unpack(some))
end
redis.call('SET', floor_key, string.format('%.0f', floor))
if expires_in ~= '' then
  redis.call('EXPIRE', homefeed, expires_in)
  redis.call('EXPIRE', floor_key, expires_in)
end
return 1
