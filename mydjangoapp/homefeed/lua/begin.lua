-- begin: claim the first batch of a fan-out and, if that was granted, serve its first slice.
--
-- KEYS  1 to 7 as claim.lua has them  8 to 15 as slice.lua has them
-- ARGV  1 to 16 as claim.lua has them  17 to 29 as slice.lua has them
-- Returns {what claim returns, what slice returns or false if nothing was granted}
--
-- Atomic, so that most fan-outs (those of authors with few followers) take one call from beginning to end.
-- O(followers in the slice); it holds Redis for as long as a slice does.
local function claim(KEYS, ARGV)
--#include claim
end
local function slice(KEYS, ARGV)
--#include slice
end

local claimed = claim({unpack(KEYS, 1, 7)}, {unpack(ARGV, 1, 16)})
if claimed[1] ~= 'start' then return {claimed, false} end
local served = slice({unpack(KEYS, 8)}, {unpack(ARGV, 17)})
if served.err then return served end
return {claimed, served}
