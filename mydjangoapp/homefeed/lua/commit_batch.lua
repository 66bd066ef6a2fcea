-- commit_batch: a batch has been pushed to all its followers.
--
-- KEYS  1 fanout  2 followers  3 followers-state  4 fanouts  5 fanout-built, all of the author
-- ARGV  1 photo  2 first index of the batch  3 token of its claim  4 followers reached  5 followers who have
--       left  6 feeds that took no push  7... lives of the nodes that have taken pushes
-- Returns {status, cursor to enqueue or -1, time of the end or ""}
--   over    followers are left, or others are at work on theirs; also for a batch that is not this claim's
--           any more
--   ended   no followers are left
--   absent  the hash is gone (lost, or cancelled), or not the follower list its cursor points into
--
-- Atomic: the last of the batches that are under way ends the fan-out. O(nodes).
local fanout, followers, list_state, under_way, built_set = unpack(KEYS)
local photo, start, token = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local reached, gone, refused = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

--#include open_batches

local f = redis.call('HMGET', fanout, 'cursor', 'ended', 'generation', 'open', 'sent', 'reached', 'gone',
  'refused', 'done', 'lives')
if not f[1] then return {'absent', -1, ''} end
if f[2] then return {'ended', -1, f[2]} end
local cursor, length = tonumber(f[1]), redis.call('LLEN', followers)
if (redis.call('HGET', list_state, 'generation') or '') ~= f[3] or length < cursor then
  return {'absent', -1, ''}
end
local batches, ours = {}, nil
for _, b in ipairs(open_batches(f[4])) do
  if b.start == start and b.token == token then ours = b else batches[#batches + 1] = b end
end
-- Taken over meanwhile, or a call whose reply was lost: one message too many does no harm.
if not ours then return {'over', cursor < length and cursor or -1, ''} end
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
local all_gone = tonumber(f[7]) + gone
local lives = f[10] or ''
for i = 7, #ARGV do
  if not string.find(lives, ARGV[i], 1, true) then lives = lives .. ARGV[i] .. ' ' end
end
redis.call('HSET', fanout, 'open', as_text(batches), 'beat', now, 'reached', tonumber(f[6]) + reached,
  'gone', all_gone, 'refused', tonumber(f[8]) + refused, 'total', length - all_gone, 'lives', lives,
  'done', tonumber(f[9]) + ours.stop - ours.start)
if cursor >= length then
  if #batches > 0 then return {'over', -1, ''} end
  redis.call('HSET', fanout, 'ended', now)
  redis.call('SREM', under_way, photo)
  redis.call('DEL', built_set)
  return {'ended', -1, now}
end
if tonumber(f[5]) == cursor then return {'over', -1, ''} end
redis.call('HSET', fanout, 'sent', cursor)
return {'over', cursor, ''}
