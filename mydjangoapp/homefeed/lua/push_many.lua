-- push_many: push the photo to users whose home feeds are on this node of a cluster.
--
-- KEYS  none: many slots; or the home feed of the only user, so that the call goes where that is
-- ARGV  named below; then the users
-- Returns {"1" if it was too late, this server's time, {numbers of users whose feeds are not here},
--          {numbers of users whose feeds take no push}, the last one's error}
--
-- After `deadline`, in this server's time, it does nothing: a call that has slept in a socket's buffer must
-- not push what has been pushed since. O(users), about a microsecond each, guarded some ten.
local photo, HOME, FLOOR, TOKEN = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local keep = tonumber(ARGV[5])          -- MAX_LENGTH
local trim_above = keep + tonumber(ARGV[6])
local only_active = ARGV[7] == '1'      -- leave out users without a list (INACTIVE_AFTER)
local guarded = ARGV[8] == '1'          -- look whether the photo is there
local deadline = tonumber(ARGV[9])      -- 0: none
local BEFORE = 9                        -- arguments before the users

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local now_text = string.format('%.6f', now)
if deadline > 0 and now > deadline then return {1, now_text, {}, {}, ''} end

--#include push_feed

local i, elsewhere, refused, refused_error = BEFORE, {}, {}, ''
local function serve()
  while i < #ARGV do
    i = i + 1
    push(ARGV[i], guarded)
  end
end
repeat
  local served, problem = pcall(serve)
  if not served then
    problem = type(problem) == 'table' and problem.err or tostring(problem)
    -- The second: this node is cut off from the others, which may have put another in its place.
    if string.find(problem, 'non local key', 1, true) or string.find(problem, 'cluster is down', 1, true) then
      elsewhere[#elsewhere + 1] = i - BEFORE
    elseif not pushed and not string.find(problem, 'WRONGTYPE', 1, true) then
      return redis.error_reply(problem)  -- nothing is done yet, and nothing will be
    else
      refused[#refused + 1], refused_error = i - BEFORE, problem
    end
  end
until served
return {0, now_text, elsewhere, refused, refused_error}
