-- claim: may this message carry the fan-out on? If so, what is its batch?
--
-- KEYS  1 fanout:{photo}  2 followers:{author}  3 followers-state:{author}  4 fanouts:{author}  5 queue
-- ARGV  1 photo  2 cursor of the message  3 batch size  4 lease, seconds  5 "1" if redelivered
--       6 "1" to begin (again) where it would be absent  7 "1" to guard each push against doubles
--       8 "1" if the follower list is known to have members  9 author
--       10 nonce of this call  11 when the message was sent (seconds, the sender's clock), 0: not known
--       12 a chain that stood still for so many seconds goes on guarded
-- Returns {verdict, first index, index behind the last, seconds since the ledger was written}
--   start      the hash was made, the chain begins
--   next       the expected next link
--   takeover   the chain stood still for a lease, or this very message's worker died
--   duplicate  somebody else is at it: end without a word
--   ended      nothing is left to carry
--   absent     no hash, or not the follower list that its cursor points into: ask the ledger
--
-- Fields of the hash: cursor (next follower), link and end (the batch that was claimed last), sent
-- (the link that has been enqueued), generation (of the follower list, that the cursor belongs to),
-- guard, author, own (author served), total, reached, gone, refused, started, beat, synced, ended; nonce
-- and verdict of the claim that was granted last, so that a call whose reply was lost and that the client
-- repeats gets the same answer again, and is not told `duplicate` of itself.
-- `queue` tells the rescue how far the broker's queue has come: `front`, when the latest message that was
-- taken had been sent, `moved`, when a message was last taken, and `probes`, how often the rescue has
-- probed since, the last time at `probed`.
--
-- Atomic, so that of any number of messages for one link exactly one is let through. Time is this
-- server's, so that workers' clocks do not matter. O(1), some ten microseconds.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local batch = tonumber(ARGV[3])
local f = redis.call('HMGET', KEYS[1], 'cursor', 'link', 'end', 'beat', 'ended', 'synced', 'generation',
  'total', 'nonce', 'verdict')
redis.call('HSET', KEYS[5], 'moved', now, 'probes', 0)
local sent = math.min(tonumber(ARGV[11]), now)  -- a sender's clock may be ahead
if sent > tonumber(redis.call('HGET', KEYS[5], 'front') or 0) then redis.call('HSET', KEYS[5], 'front', sent) end
if f[5] then return {'ended', 0, 0, 0} end

local length, generation = redis.call('LLEN', KEYS[2]), redis.call('HGET', KEYS[3], 'generation') or ''
local moved = f[1] and (generation ~= f[7] or length < tonumber(f[1])
  or (length == 0 and tonumber(f[8]) > 0))
if not f[1] or moved then
  if ARGV[6] ~= '1' or (length == 0 and ARGV[8] == '1') then return {'absent', 0, 0, 0} end
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'cursor', 0, 'link', 0, 'end', batch, 'guard', moved and '1' or ARGV[7],
    'generation', generation, 'author', ARGV[9], 'total', length, 'reached', 0, 'gone', 0, 'refused', 0,
    'started', now, 'beat', now, 'synced', now, 'nonce', ARGV[10], 'verdict', 'start')
  redis.call('SADD', KEYS[4], ARGV[1])
  return {'start', 0, batch, 0}
end

local cursor, link, stop = tonumber(f[1]), tonumber(f[2]), tonumber(f[3])
if f[9] == ARGV[10] then return {f[10], link, stop, 0} end
local idle = now - tonumber(f[4])
local stalled = idle < 0 or idle >= tonumber(ARGV[4])  -- below zero: this server's clock was set back
local asked = tonumber(ARGV[2])
local verdict
if asked == stop then
  verdict, link = 'next', asked
elseif stalled or (ARGV[5] == '1' and asked == link) then
  verdict, link = 'takeover', cursor - cursor % batch
  redis.call('HDEL', KEYS[1], 'sent')
else
  return {'duplicate', 0, 0, 0}
end
if idle < 0 or idle >= tonumber(ARGV[12]) then redis.call('HSET', KEYS[1], 'guard', 1) end
local since = now - tonumber(f[6])
redis.call('HSET', KEYS[1], 'link', link, 'end', link + batch, 'beat', now, 'nonce', ARGV[10],
  'verdict', verdict, 'synced', since >= 1 and now or f[6])
return {verdict, link, link + batch, math.floor(since)}
