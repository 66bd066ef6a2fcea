-- apply_changes: bring follows and unfollows into an author's follower list.
--
-- KEYS  1 followers  2 followers-marks  3 followers-state  4 followers-rewrite  5 followers-next
--       6 followers-next-marks, all :{author}
-- ARGV  1 "1" to apply what is unknown; then for each change: 2 "follow" or "unfollow"  3 follower  4 version
-- Returns for each change
--   applied  done (also: the list is missing, it will be made from SQL, which has the change)
--   old      this change, or a later one of the same two users, has been applied before
--   unknown  too old to tell: ask SQL whether it still holds, then apply by force or drop it
--
-- The list is only appended to, so that cursors into it stay valid. A change leaves a mark: entries
-- of that follower below the mark's bound are dead. That makes unfollow O(1), makes it harmless for
-- someone who is not in the list, and a follow that is applied twice cannot make two live entries.
-- While a rewrite is under way the change goes to both lists; the rewrite leaves marked users out.
-- Atomic, so that mark and entry cannot part. O(changes), about 3 microseconds each; by force, in a list
-- of at most 10,000, O(list), some 100.
local followers, list_marks, list_state, rewrite, next_followers, next_marks = unpack(KEYS)
local by_force = ARGV[1]
local call = redis.call
local live, rewriting = call('EXISTS', followers) == 1, call('EXISTS', rewrite) == 1
local meta = call('HMGET', list_state, 'top', 'upto')
local top, upto = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
local results = {}

local function apply(list, marks, verb, follower, version, unsure)
  local length = call('LLEN', list)
  if unsure and verb == 'follow' and length <= 10000 and call('LPOS', list, follower) then
    length, verb = 0, 'is there'  -- a second entry would do no harm, but need not be
  end
  call('HSET', marks, follower, string.format('%.0f:%.0f', length, version))
  if verb == 'follow' then call('RPUSH', list, follower) end
end

for i = 2, #ARGV, 3 do
  local verb, follower, version = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local mark = call('HGET', list_marks, follower) or call('HGET', next_marks, follower)
  local seen = mark and tonumber(string.match(mark, ':(%d+)$'))
  local result = 'applied'
  if seen and version <= seen then
    result = 'old'
  elseif not seen and version <= upto and by_force ~= '1' then
    result = 'unknown'
  else
    local unsure = not seen and version <= upto
    if live then apply(followers, list_marks, verb, follower, version, unsure) end
    if rewriting then apply(next_followers, next_marks, verb, follower, version, unsure) end
    if version > top then top = version end
  end
  results[#results + 1] = result
end
-- Also where there is no list yet: a rebuild takes it for what SQL knew, and older changes that are
-- still to come are then looked up.
call('HSET', list_state, 'top', string.format('%.0f', top))
return results
