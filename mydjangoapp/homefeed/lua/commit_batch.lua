-- commit_batch: a batch has been pushed to all its followers whose nodes answer.
--
-- KEYS  1 fanout  2 followers  3 followers-state  4 fanouts  5 fanout-built  6 fanout-left, all of the author
-- ARGV  1 photo  2 first index of the batch  3 token of its claim  4 followers reached  5 followers who have
--       left  6 feeds that took no push  7 what is left over, as `count:ranges` of slots, or ""  8... lives of
--       the nodes that have taken pushes
-- Returns {status, {cursors to enqueue}, time of the end or "", "1" if this caller's message is to come again
--          later}
--   over    followers are left, or others are at work on theirs; also for a batch that is not this claim's
--           any more
--   ended   no followers are left
--   absent  the hash is gone (lost, or cancelled), or not the follower list its cursor points into
--
-- One message is answerable for what is left over: the one that has left the first of it, and then whoever
-- it is handed on to. It comes again later when it has got no further. The last leftover is the last in turn.
--
-- Atomic: the last of the batches that are under way ends the fan-out. O(nodes + log leftovers).
local fanout, followers, list_state, under_way, built_set, left_set = unpack(KEYS)
local photo, start, token = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local reached, gone, refused = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local left = ARGV[7]

--#include open_batches

local f = redis.call('HMGET', fanout, 'cursor', 'ended', 'generation', 'open', 'sent', 'reached', 'gone',
  'refused', 'done', 'lives', 'attempts')
if not f[1] then return {'absent', {}, '', 0} end
if f[2] then return {'ended', {}, f[2], 0} end
local cursor, length = tonumber(f[1]), redis.call('LLEN', followers)
if (redis.call('HGET', list_state, 'generation') or '') ~= f[3] or length < cursor then
  return {'absent', {}, '', 0}
end
local batches, ours, leftovers = {}, nil, redis.call('ZCARD', left_set)
for _, b in ipairs(open_batches(f[4])) do
  if b.start == start and b.token == token then ours = b else
    batches[#batches + 1] = b
    if b.left ~= '' then leftovers = leftovers + 1 end
  end
end
local links = {}
local function hand_on()
  local first = redis.call('ZRANGE', left_set, 0, 0)[1]
  if first then links[#links + 1] = tonumber(string.match(first, '^%d+')) end
end
if not ours then  -- taken over meanwhile, or a call whose reply was lost: one message too many does no harm
  hand_on()
  if cursor < length then links[#links + 1] = cursor end
  return {'over', links, '', 0}
end
local before = tonumber(string.match(ours.left, '^%d+') or ours.stop - ours.start)
local still = tonumber(string.match(left, '^%d+') or 0)
local is_stuck = left ~= '' and (leftovers == 0 or (ours.left ~= '' and still >= before))
local attempts = tonumber(f[11])
if left ~= '' then
  local last = redis.call('ZRANGE', left_set, -1, -1, 'WITHSCORES')
  local entry = string.format('%.0f:%.0f:%s', ours.start, ours.stop, left)
  redis.call('ZADD', left_set, (tonumber(last[2]) or 0) + 1, entry)
  leftovers = leftovers + 1
  attempts = math.max(0, attempts - 1)  -- it is not to be given up because a node is away
end
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
local all_gone = tonumber(f[7]) + gone
local lives = f[10] or ''
for i = 8, #ARGV do
  if not string.find(lives, ARGV[i], 1, true) then lives = lives .. ARGV[i] .. ' ' end
end
redis.call('HSET', fanout, 'open', as_text(batches), 'beat', now, 'reached', tonumber(f[6]) + reached,
  'gone', all_gone, 'refused', tonumber(f[8]) + refused, 'total', length - all_gone, 'lives', lives,
  'done', tonumber(f[9]) + before - still, 'attempts', attempts)
if cursor >= length and #batches == 0 and leftovers == 0 then
  redis.call('HSET', fanout, 'ended', now)
  redis.call('SREM', under_way, photo)
  redis.call('DEL', built_set)
  return {'ended', {}, now, 0}
end
-- The second: whoever was answerable may have been given other work, such as this.
if not is_stuck and (ours.left ~= '' or (left == '' and cursor >= length and #batches == 0)) then hand_on() end
if cursor < length and tonumber(f[5]) ~= cursor then
  redis.call('HSET', fanout, 'sent', cursor)
  links[#links + 1] = cursor
end
return {'over', links, '', is_stuck and 1 or 0}
