-- give_receipts: note that rows of the graph's outbox have been applied, and when.
--
-- KEYS  1 graph-applied
-- ARGV  ids of the rows
-- Returns 1
--
-- Time is this server's, the same that is asked later how long the receipt has been held. O(rows log n).
local receipts = KEYS[1]
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
for _, id in ipairs(ARGV) do redis.call('ZADD', receipts, now, id) end
return 1
