-- begin_build: reserve the building of a home feed from SQL.
--
-- KEYS  1 homefeed-build  2 token  3 homefeed  4 floor, all :{user}
-- ARGV  1 a fresh token  2 lease, milliseconds  3 "1" to build also what is there
-- Returns {token, 1 if there is a list, else 0}, or false if somebody else is at it or was faster
--
-- The token names the state that the builder starts from: it must be taken before SQL is read, and is
-- voided by whatever changes that state. Atomic, so that one reader in a hundred builds. O(1).
local build, token_key, homefeed, floor = unpack(KEYS)
local fresh_token, lease_ms, again = ARGV[1], ARGV[2], ARGV[3]
local there = redis.call('EXISTS', homefeed)
if there == 1 and again ~= '1' and tonumber(redis.call('GET', floor)) then return false end
local holder = redis.call('GET', build)
-- Held for longer than anybody holds it: this server's clock was set back.
local held = holder and redis.call('PTTL', build) <= tonumber(lease_ms)
if held and holder ~= fresh_token then return false end  -- our own: a call whose reply was lost, repeated
redis.call('SET', build, fresh_token, 'PX', lease_ms)
local token = redis.call('GET', token_key)
if not token then
  token = fresh_token
  redis.call('SET', token_key, token)
end
-- A token that nobody comes back for goes by itself.
redis.call('PEXPIRE', token_key, 10 * lease_ms)
return {token, there}
