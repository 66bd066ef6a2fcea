-- end_turn: give a turn back.
--
-- KEYS  1 the turn
-- ARGV  1 token of the call that took it
-- Returns 1 if it was given back, 0 if it is somebody else's by now
--
-- Atomic, so that nobody's turn is ended by another. O(1).
local turn = KEYS[1]
local token = ARGV[1]
if redis.call('GET', turn) ~= token then return 0 end
return redis.call('DEL', turn)
