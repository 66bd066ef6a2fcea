-- claim: may this message carry the fan-out on? If so, which batch is its own?
--
-- KEYS  1 fanout  2 followers  3 followers-state  4 fanouts, all of the author  5 queue  6 homefeed of the
--       author  7 fanout-built
-- ARGV  named below
-- Returns {verdict, first index, index behind the last, "1" if the ledger is due, cursor, reached, total,
--          attempts, started}; the last five are what the ledger is to be told
--   start      the hash was made, the chain begins
--   next       the expected next link
--   takeover   the chain stood still for a lease, or the worker of this very message died
--   duplicate  another message does this work
--   ended      everybody has been served
--   absent     no hash, or not the follower list that its cursor points into: ask the ledger
--   unlisted   the chain could begin, but there is no follower list
--   long       the chain could begin, but the list is longer than PULL_ABOVE
--   exhausted  started too often without getting any further
--
-- Fields of the hash: cursor (next follower), link and end (the batch that was claimed last), sent
-- (the link that was enqueued last), generation (of the follower list that the cursor belongs to),
-- guard, author, own (the author has been served), total, reached, gone, refused, started, beat, synced,
-- ended; attempts (starts since the chain last got further) and attempted (the cursor then); nonce and
-- verdict of the last granted claim: redis-py repeats a call whose reply was lost, and the repeated call
-- gets the same answer again instead of `duplicate`.
-- The hash `queue` tells the rescue how far the broker's queue has come: `front` (when the latest of the
-- messages taken had been sent), `moved` (when a message was last taken), `probes` (how often the rescue
-- has probed since, last at `probed`).
--
-- Atomic, so that of any number of messages for one link exactly one is let through, and its start is
-- counted before the work. Time is this server's, so that workers' clocks do not matter. O(1), some ten
-- microseconds; a start looks through one list of at most MAX_LENGTH ids.
local fanout, followers, list_state, under_way, queue, own_feed, built = unpack(KEYS)
local photo, asked, batch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lease, comes_again = tonumber(ARGV[4]), ARGV[5] == '1'
local may_begin = ARGV[6] == '1'           -- the ledger says that the fan-out is open
local guard = ARGV[7] == '1'               -- each push looks whether the photo is there already
local without_followers = ARGV[8] == '1'   -- SQL says that the author has none
local author, nonce = ARGV[9], ARGV[10]
local sent_at = tonumber(ARGV[11])         -- when the message was sent: the sender's clock, 0 if unknown
local guard_after = tonumber(ARGV[12])     -- a chain that stood still for so many seconds goes on guarded
local attempts_before, max_attempts = tonumber(ARGV[13]), tonumber(ARGV[14])
local pull_above = tonumber(ARGV[15])      -- nil: every author's photos are pushed
local is_counted = ARGV[16] == '1'         -- not where a task tries again because a server was away

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local f = redis.call('HMGET', fanout, 'cursor', 'link', 'end', 'beat', 'ended', 'synced', 'generation',
  'total', 'nonce', 'verdict', 'reached', 'attempts', 'attempted', 'started')
local front = tonumber(redis.call('HGET', queue, 'front') or 0)
-- A sender's clock may be ahead.
redis.call('HSET', queue, 'moved', now, 'probes', 0, 'front', math.max(front, math.min(sent_at, now)))
if f[5] then return {'ended', 0, 0, 0, 0, 0, 0, 0, ''} end

local cursor, total = tonumber(f[1]), tonumber(f[8])
local length, generation = redis.call('LLEN', followers), redis.call('HGET', list_state, 'generation') or ''
local lost_its_list = cursor and (generation ~= f[7] or length < cursor or (length == 0 and total > 0))
if not cursor or lost_its_list then
  if not may_begin then return {'absent', 0, 0, 0, 0, 0, 0, 0, ''} end
  if length == 0 and not without_followers then return {'unlisted', 0, 0, 0, 0, 0, 0, 0, ''} end
  if pull_above and length > pull_above then return {'long', 0, 0, 0, 0, 0, length, 0, ''} end
  if attempts_before >= max_attempts then return {'exhausted', 0, 0, 0, 0, 0, length, attempts_before, ''} end
  -- The author's own feed gets a photo first. If it is there, a chain whose hash was lost has begun before,
  -- unless the feed was built from SQL.
  local place = redis.pcall('LPOS', own_feed, photo)
  local has_begun = type(place) == 'number' and redis.call('SISMEMBER', built, author) == 0
  guard = guard or lost_its_list or has_begun
  redis.call('DEL', fanout)
  redis.call('HSET', fanout, 'cursor', 0, 'link', 0, 'end', batch, 'guard', guard and 1 or 0,
    'generation', generation, 'author', author, 'total', length, 'reached', 0, 'gone', 0, 'refused', 0,
    'started', now, 'beat', now, 'synced', now, 'attempts', attempts_before + 1, 'attempted', 0,
    'nonce', nonce, 'verdict', 'start')
  redis.call('SADD', under_way, photo)
  return {'start', 0, batch, 0, 0, 0, length, attempts_before + 1, tostring(now)}
end

local link, stop, reached = tonumber(f[2]), tonumber(f[3]), tonumber(f[11])
local attempts, attempted = tonumber(f[12] or 0), tonumber(f[13] or 0)
if f[9] == nonce then
  -- What the lost reply may have asked for is asked for again: to enqueue the next link.
  redis.call('HDEL', fanout, 'sent')
  return {f[10], link, stop, 0, cursor, reached, total, attempts, f[14]}
end
local idle = now - tonumber(f[4])
local stalled = idle < 0 or idle >= lease  -- below zero: this server's clock was set back
local verdict
if asked == stop then
  verdict, link = 'next', asked
elseif stalled or (comes_again and asked == link) then
  if cursor > attempted then attempts, attempted = 0, cursor end
  if attempts >= max_attempts then return {'exhausted', 0, 0, 0, cursor, reached, total, attempts, f[14]} end
  if is_counted then attempts = attempts + 1 end
  verdict, link = 'takeover', cursor - cursor % batch
  redis.call('HDEL', fanout, 'sent')
  redis.call('HSET', fanout, 'attempts', attempts, 'attempted', attempted)
else
  return {'duplicate', 0, 0, 0, 0, 0, 0, 0, ''}
end
if idle < 0 or idle >= guard_after then redis.call('HSET', fanout, 'guard', 1) end
local is_due = now - tonumber(f[6]) >= 1 or verdict == 'takeover'
redis.call('HSET', fanout, 'link', link, 'end', link + batch, 'beat', now, 'nonce', nonce,
  'verdict', verdict, 'synced', is_due and now or f[6])
return {verdict, link, link + batch, is_due and 1 or 0, cursor, reached, total, attempts, f[14]}
