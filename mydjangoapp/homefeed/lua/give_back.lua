-- give_back: a batch got no further, because no node of the cluster could be asked, or this one for a moment.
-- That is no start without progress: the fan-out is not to be given up for it.
--
-- KEYS  1 fanout of the author
-- ARGV  1 token of the claim
-- Returns 1 if the start was uncounted, 0 if the batch is somebody else's by now
--
-- Atomic, because a hash that was cancelled meanwhile must not come up again. O(batches under way).
--#include open_batches

local f = redis.call('HMGET', KEYS[1], 'open', 'attempts')
for _, b in ipairs(open_batches(f[1] or '')) do
  if b.token == ARGV[1] and tonumber(f[2]) > 0 then
    redis.call('HINCRBY', KEYS[1], 'attempts', -1)
    return 1
  end
end
return 0
