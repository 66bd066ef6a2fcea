-- give_receipts: note that rows of the graph's outbox have been applied, and when.
--
-- KEYS  1 graph-applied
-- ARGV  1 seconds until all of them go  2... ids of the rows
-- Returns 1
--
-- Time is this server's, the same that is asked later how long the receipt has been held. O(rows log n).
local receipts = KEYS[1]
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
for i = 2, #ARGV do redis.call('ZADD', receipts, now, ARGV[i]) end
redis.call('EXPIRE', receipts, ARGV[1])
return 1
