-- note_built: a user's list is being built with the photo of a fan-out that has not ended.
--
-- KEYS  1 fanout-built  2 fanout, both of the author
-- ARGV  1 user  2 seconds that the note lives
-- Returns names of the batches under way that may have been read before this and push without looking
--
-- O(batches under way).
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])

--#include open_batches

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local tokens = {}
for _, b in ipairs(open_batches(redis.call('HGET', KEYS[2], 'open') or '')) do
  -- Not by its token: whoever had it before it was taken over may push until then.
  if b.void > now then tokens[#tokens + 1] = string.format('%.0f:%.6f', b.start, b.void) end
end
return tokens
