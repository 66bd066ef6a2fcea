-- put_off: these fan-outs have ended, and cannot be settled yet. They go behind the others.
--
-- KEYS  1 fanouts-ended
-- ARGV  members of the set
-- Returns 1
--
-- Time is this server's, as `take_ended` has it. O(members log n).
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
for _, member in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now, member) end
return 1
