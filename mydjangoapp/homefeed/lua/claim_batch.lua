-- claim_batch: may this message carry the fan-out on? If so, which batch is its own? For a cluster, where
-- pushes go to other nodes than the fan-out's.
--
-- KEYS  1 fanout  2 followers  3 followers-state  4 fanouts  5 fanout-left, all of the author
-- ARGV  named below
-- Returns {verdict, first index, index behind the last, "1" if the ledger is due, cursor, reached, total,
--          attempts, started, generation of the list, "1" if each push is to look whether the photo is there,
--          seconds to wait before the first push, cursor to enqueue now or -1, leftover that this is or ""}
-- Verdicts are those of claim.lua.
--
-- Fields of the hash as claim.lua has them, and: cursor (next follower whom no batch has), open (see
-- open_batches.lua), run (this server's life in which the batch before was claimed), sent (the cursor for which
-- a message was sent), done (followers whose batches are committed), fence (until when claims of which it does
-- not know may still push).
--
-- A batch that is claimed for the first time may push without looking, until `fence` seconds later. Whoever
-- takes it over waits for that and looks. After a restart or fail-over of this server, which may have taken
-- claims back, everybody looks. A message that finds no other work takes up what nodes that were away have left
-- over. O(1), some twenty microseconds.
local fanout, followers, list_state, under_way, left_set = unpack(KEYS)
local photo, asked, batch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lease, comes_again = tonumber(ARGV[4]), ARGV[5] == '1'
local may_begin = ARGV[6] == '1'           -- the ledger says that the fan-out is open
local guard = ARGV[7] == '1'               -- each push looks whether the photo is there already
local without_followers = ARGV[8] == '1'   -- SQL says that the author has none
local author, nonce = ARGV[9], ARGV[10]
local guard_after = tonumber(ARGV[11])     -- a chain that stood still for so many seconds goes on guarded
local attempts_before, max_attempts = tonumber(ARGV[12]), tonumber(ARGV[13])
local pull_above = tonumber(ARGV[14])      -- nil: every author's photos are pushed
local is_counted = ARGV[15] == '1'         -- not where a task tries again because a server was away
local in_flight, fence = tonumber(ARGV[16]), tonumber(ARGV[17])

--#include open_batches

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local told = redis.call('INFO', 'server', 'replication')
local run = string.match(told, 'run_id:(%w+)') .. string.match(told, 'master_replid:(%w+)')
local f = redis.call('HMGET', fanout, 'cursor', 'generation', 'beat', 'ended', 'synced', 'total', 'reached',
  'attempts', 'attempted', 'started', 'guard', 'run', 'open', 'sent', 'done', 'fence')
local function refused(verdict, length, attempts)
  return {verdict, 0, 0, 0, 0, 0, length or 0, attempts or 0, '', '', 0, '0', -1, ''}
end
if f[4] then return refused('ended') end

local cursor, total = tonumber(f[1]), tonumber(f[6])
local length, generation = redis.call('LLEN', followers), redis.call('HGET', list_state, 'generation') or ''
local lost_its_list = cursor and (generation ~= f[2] or length < cursor or (length == 0 and total > 0))
if not cursor or lost_its_list then
  if not may_begin then return refused('absent') end
  if length == 0 and not without_followers then return refused('unlisted') end
  if pull_above and length > pull_above then return refused('long', length) end
  if attempts_before >= max_attempts then return refused('exhausted', length, attempts_before) end
  guard = guard or lost_its_list
  local stop = math.min(batch, length)
  -- Claims that a crash or a rewrite of the list has taken back may still push. Of a first message that is
  -- only so right after this server was started.
  local is_young = tonumber(string.match(told, 'uptime_in_seconds:(%d+)')) <= fence
  local has_claims = lost_its_list or asked > 0 or (guard and is_young)
  local void = guard and not has_claims and 0 or now + fence
  local enqueue = stop < length and in_flight > 1 and stop or -1
  redis.call('DEL', fanout, left_set)
  redis.call('HSET', fanout, 'cursor', stop, 'guard', guard and 1 or 0, 'generation', generation,
    'author', author, 'total', length, 'reached', 0, 'gone', 0, 'refused', 0, 'done', 0, 'started', now,
    'beat', now, 'synced', now, 'attempts', attempts_before + 1, 'attempted', 0, 'run', run, 'sent', enqueue,
    'open', as_text({{start = 0, stop = stop, token = nonce, claimed = now, void = void}}))
  if has_claims then redis.call('HSET', fanout, 'fence', string.format('%.6f', now + fence)) end
  redis.call('SADD', under_way, photo)
  return {'start', 0, stop, 0, 0, 0, length, attempts_before + 1, tostring(now), generation, guard and 1 or 0,
    has_claims and tostring(fence) or '0', enqueue, ''}
end

local fenced_until = tonumber(f[16] or 0)  -- until then claims that this server has lost may push
if run ~= f[12] then
  f[11], fenced_until = '1', now + fence
  redis.call('HSET', fanout, 'guard', 1, 'run', run, 'fence', string.format('%.6f', fenced_until))
end
local batches, reached, done = open_batches(f[13]), tonumber(f[7]), tonumber(f[15])
local attempts, attempted = tonumber(f[8]), tonumber(f[9])
local function granted(verdict, b, is_due, enqueue)
  return {verdict, b.start, b.stop, is_due and 1 or 0, cursor, reached, total, attempts, f[10], generation,
    (verdict == 'takeover' or f[11] == '1') and 1 or 0, string.format('%.6f', math.max(0, b.void - now)),
    enqueue, b.left or ''}
end
for _, b in ipairs(batches) do
  -- The reply of this very call was lost; its order to enqueue with it.
  if b.token == nonce then
    return granted('takeover', b, false, cursor < length and #batches < in_flight and cursor or -1)
  end
end
local idle = now - tonumber(f[3])
local stalled = idle < 0 or idle >= lease  -- below zero: this server's clock was set back
local fresh, old = asked == cursor and cursor < length, nil
if not fresh then
  for _, b in ipairs(batches) do
    local age = now - b.claimed
    -- A message that was to take up a leftover is not told which.
    local is_its_own = comes_again and (b.start == asked or b.left ~= '')
    if not old and (is_its_own or age < 0 or age >= lease) then old = b end
  end
  fresh = not old and stalled and cursor < length  -- the message that was to come is lost
end
local leftover = not fresh and not old and redis.call('ZRANGE', left_set, 0, 0)[1]
if not fresh and not old and not leftover then return refused('duplicate') end
if old or stalled or comes_again then
  if done > attempted then attempts, attempted = 0, done end
  if attempts >= max_attempts then
    return {'exhausted', 0, 0, 0, cursor, reached, total, attempts, f[10], generation, 1, '0', -1, ''}
  end
  if is_counted then attempts = attempts + 1 end
  redis.call('HSET', fanout, 'attempts', attempts, 'attempted', attempted)
end
if idle < 0 or idle >= guard_after then
  f[11] = '1'
  redis.call('HSET', fanout, 'guard', 1)
end
local is_due = now - tonumber(f[5]) >= 1 or old
local verdict, enqueue = 'takeover', -1
if leftover then
  redis.call('ZREM', left_set, leftover)
  local start, stop, left = string.match(leftover, '^(%d+):(%d+):(.+)$')
  old = {start = tonumber(start), stop = tonumber(stop), token = nonce, claimed = now, void = fenced_until,
    left = left}
  batches[#batches + 1] = old
elseif old then
  old.token, old.claimed, old.void = nonce, now, math.max(old.void, fenced_until)
  -- One message too many does no harm. Where as many are under way as may be, one that ends orders it.
  if cursor < length and #batches < in_flight then enqueue = cursor end
else
  verdict = 'next'
  old = {start = cursor, stop = math.min(cursor + batch, length), token = nonce, claimed = now,
    void = f[11] == '1' and fenced_until or now + fence}
  batches[#batches + 1] = old
  cursor = old.stop
  if cursor < length and #batches < in_flight then enqueue = cursor end
end
redis.call('HSET', fanout, 'cursor', cursor, 'beat', now, 'open', as_text(batches),
  'synced', is_due and now or f[5], 'sent', math.max(enqueue, tonumber(f[14])))
local answer = granted(verdict, old, is_due, enqueue)
if answer[11] == 0 then answer[12] = '0' end  -- nobody has pushed any of it before
return answer
