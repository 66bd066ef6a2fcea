-- begin_turn: take a turn that one of many callers gets.
--
-- KEYS  1 the turn
-- ARGV  1 token of this call  2 milliseconds that it lasts, unless it is ended before
-- Returns 1 if it was taken, 0 if somebody has it
--
-- Atomic, so that one caller gets it. A repeated call gets the same answer. One that seems to last longer
-- than any turn was taken before this server's clock was set back, and is over. O(1).
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
