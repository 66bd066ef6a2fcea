-- slice: push the photo to the next few followers and move the cursor past them, in one step.
--
-- KEYS  1 fanout  2 followers  3 followers-marks  4 followers-state  5 fanouts  6 fanout-built, all of the
--       author  7 fanouts-ended  8 settling
-- ARGV  named below
-- Returns {status, "1" once per link: enqueue the next one, refused here, a refused key, its error,
--          "1" for one caller per SETTLE_SECONDS: enqueue the settling of ended fan-outs}
--   more    served; call again        over    the batch is finished, followers are left
--   ended   no followers are left
--   absent  the hash is gone (lost, or cancelled), or not the follower list its cursor points into
--
-- Atomic: pushes and cursor move together, in memory and in the AOF, so a slice may be called
-- again after any kill or time-out without anybody getting a second copy. Callers need no order.
-- The keys of the followers' feeds are made here, so this needs a Redis that is not a cluster.
-- O(followers in the slice); about 1.2 microseconds each, 250 hold Redis for 0.3 ms.
local call = redis.call
local fanout, followers, list_marks, list_state, under_way, built_set, ended_set, settling = unpack(KEYS)
local photo, author = ARGV[1], ARGV[2]
local HOME, FLOOR, TOKEN = ARGV[3], ARGV[4], ARGV[5]  -- what these keys of users begin with
local slice_size = tonumber(ARGV[6])                  -- followers
local link, stop = tonumber(ARGV[7]), tonumber(ARGV[8])  -- the caller's batch: from, up to and without
local enqueue_from = tonumber(ARGV[9])                -- cursor from which on the next link is enqueued
local keep = tonumber(ARGV[10])                       -- MAX_LENGTH
local trim_above = keep + tonumber(ARGV[11])
local only_active = ARGV[12] == '1'                   -- leave out users without a list (INACTIVE_AFTER)
local settle_ms = tonumber(ARGV[13])

local f = call('HMGET', fanout, 'cursor', 'ended', 'generation', 'own', 'guard', 'link', 'sent',
  'total', 'reached', 'gone', 'refused')
if not f[1] then return {'absent', 0, 0, '', '', 0} end
if f[2] then return {'ended', 0, 0, '', '', 0} end
local cursor, length = tonumber(f[1]), call('LLEN', followers)
if (call('HGET', list_state, 'generation') or '') ~= f[3] or length < cursor
   or (length == 0 and tonumber(f[8]) > 0) then
  return {'absent', 0, 0, '', '', 0}
end

--#include push_feed

local guard = f[5] == '1'
local upto = math.max(cursor, math.min(cursor + slice_size, stop, length))
local users, marks, built = {}, false, false
if upto > cursor then
  users = call('LRANGE', followers, cursor, upto - 1)
  marks = call('EXISTS', list_marks) == 1 and call('HMGET', list_marks, unpack(users))
  -- Lists that were built from SQL since the photo was published have it already.
  built = call('EXISTS', built_set) == 1 and call('SMISMEMBER', built_set, unpack(users))
end

local i, gone, refused, refused_key, refused_error = 0, 0, 0, '', ''
local function serve()
  if i == 0 and not f[4] then push(author, true) end
  while i < #users do
    i = i + 1
    local mark = marks and marks[i]
    -- Entries below the mark's bound are dead. One at or above it may be a second life: guard it.
    if mark and cursor + i - 1 < tonumber(string.match(mark, '^%d+')) then
      gone = gone + 1
    else
      push(users[i], guard or mark or (built and built[i] == 1))
    end
  end
end
repeat
  -- Around the loop and not around each push: that is a tenth faster.
  local served, problem = pcall(serve)
  if not served then
    problem = type(problem) == 'table' and problem.err or tostring(problem)
    -- Out of memory or read-only shows at the first write: nothing is done yet, and nothing will be.
    if not pushed and not string.find(problem, 'WRONGTYPE', 1, true) then
      return redis.error_reply(problem)
    end
    if i > 0 then refused = refused + 1 end
    refused_key, refused_error = HOME .. (users[i] or author), problem
    if i == 0 then f[4] = 1 end
  end
until served

local time = call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
call('HSET', fanout, 'cursor', upto, 'beat', now,
  'reached', tonumber(f[9]) + #users - gone - refused)
local all_gone = tonumber(f[10]) + gone
if gone > 0 or refused > 0 or not f[4] or f[4] == 1 or length - all_gone ~= tonumber(f[8]) then
  call('HSET', fanout, 'own', 1, 'total', length - all_gone, 'gone', all_gone,
    'refused', tonumber(f[11]) + refused)
end
if upto >= length then
  call('HSET', fanout, 'ended', now)
  call('SREM', under_way, photo)
  call('DEL', built_set)
  call('ZADD', ended_set, now, photo .. ':' .. author)
  local is_due = 0
  -- A turn that would last longer than any was taken before this server's clock was set back.
  if call('EXISTS', settling) == 0 or call('PTTL', settling) > settle_ms then
    call('SET', settling, photo, 'PX', settle_ms)
    is_due = 1
  end
  return {'ended', 0, refused, refused_key, refused_error, is_due}
end
local enqueue = 0
if tonumber(f[6]) == link and tonumber(f[7]) ~= stop and length > stop and upto >= enqueue_from then
  call('HSET', fanout, 'sent', stop)
  enqueue = 1
end
-- A link whose successor has begun leaves the rest of its batch to it: two links at work would make
-- others wait for twice as many slices.
local over = upto >= stop or tonumber(f[6]) > link
return {over and 'over' or 'more', enqueue, refused, refused_key, refused_error, 0}
