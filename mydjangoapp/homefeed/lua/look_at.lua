-- look_at: fields of a hash, and what time it is.
--
-- KEYS  1 fanout of the author
-- ARGV  fields
-- Returns {their values, seconds since 1970}
--
-- Times in the hash are of the clock of the server that has it. O(fields), a microsecond or two.
local time = redis.call('TIME')
return {redis.call('HMGET', KEYS[1], unpack(ARGV)), string.format('%.6f', time[1] + time[2] / 1000000)}
