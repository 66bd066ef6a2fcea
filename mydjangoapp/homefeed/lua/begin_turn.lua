-- begin_turn: take a turn that one of many callers gets.
--
-- KEYS  1 the turn
-- ARGV  1 token of this call  2 milliseconds that it lasts, unless it is ended before
-- Returns 1 if it was taken, 0 if somebody has it
--
-- Atomic, so that one caller gets it. A repeated call gets the same answer. One that seems to last longer
-- than any turn was taken before this server's clock was set back, and is over. O(1).
local turn = KEYS[1]
local token, milliseconds = ARGV[1], ARGV[2]
local holder = redis.call('GET', turn)
if holder and holder ~= token and redis.call('PTTL', turn) <= tonumber(milliseconds) then return 0 end
redis.call('SET', turn, token, 'PX', milliseconds)
return 1
