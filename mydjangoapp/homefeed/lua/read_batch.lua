-- read_batch: the next few followers of a batch, by what a push to them has to heed.
--
-- KEYS  1 followers  2 followers-marks  3 followers-state  4 fanout-built, all of the author
-- ARGV  1 generation of the list  2 first index  3 last index
-- Returns {those to push to, those who may have the photo, how many have left}, or false if the list is
--   another than the one that was claimed
--
-- Atomic, so that index and mark are of one moment. O(followers), about half a microsecond each; thousands at
-- once, because reaching an index of a long list takes time by itself.
local followers, list_marks, list_state, built_set = unpack(KEYS)
local generation, first, last = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local CHUNK = 1000  -- what unpack takes
local call = redis.call

if (call('HGET', list_state, 'generation') or '') ~= generation then return false end
local users = call('LRANGE', followers, first, last)
local has_marks, has_built = call('EXISTS', list_marks) == 1, call('EXISTS', built_set) == 1
if not has_marks and not has_built then return {users, {}, 0} end
local plain, guarded, gone = {}, {}, 0
for from = 1, #users, CHUNK do
  local to = math.min(from + CHUNK - 1, #users)
  local marks = has_marks and call('HMGET', list_marks, unpack(users, from, to))
  local built = has_built and call('SMISMEMBER', built_set, unpack(users, from, to))
  for i = from, to do
    local mark = marks and marks[i - from + 1]
    -- Entries below the mark's bound are dead. One at or above it may be a second life: guard it.
    if mark and first + i - 1 < tonumber(string.match(mark, '^%d+')) then
      gone = gone + 1
    elseif mark or (built and built[i - from + 1] == 1) then
      guarded[#guarded + 1] = users[i]
    else
      plain[#plain + 1] = users[i]
    end
  end
end
return {plain, guarded, gone}
