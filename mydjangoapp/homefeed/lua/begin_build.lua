-- begin_build: reserve the building of a home feed from SQL.
--
-- KEYS  1 homefeed-build  2 token  3 homefeed  4 floor, all :{user}
-- ARGV  1 a fresh token  2 lease, milliseconds  3 "1" to build also what is there
-- Returns {token, 1 if there is a list, else 0}, or false if somebody else is at it or was faster
--
-- The token names the state that the builder starts from: it must be taken before SQL is read, and is
-- voided by whatever changes that state. Atomic, so that one reader in a hundred builds. O(1).
local there = redis.call('EXISTS', KEYS[3])
if there == 1 and ARGV[3] ~= '1' and tonumber(redis.call('GET', KEYS[4])) then return false end
local holder = redis.call('GET', KEYS[1])
-- Held for longer than anybody holds it: this server's clock was set back.
local held = holder and redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[2])
if held and holder ~= ARGV[1] then return false end  -- our own: a call whose reply was lost, repeated
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local token = redis.call('GET', KEYS[2])
if not token then
  token = ARGV[1]
  redis.call('SET', KEYS[2], token)
end
-- A token that nobody comes back for goes by itself.
redis.call('PEXPIRE', KEYS[2], 10 * ARGV[2])
return {token, there}
