-- touch: begin the time-out of a message anew.
--
-- KEYS  1 the stream it was taken from
-- ARGV  1 channel  2 consumer  3 entry id
-- Returns 1; 0 if the message is not in this consumer's hands any more
--
-- Atomic, so that no consumer takes another's message. O(1).
local source = KEYS[1]
local group, consumer, entry_id = ARGV[1], ARGV[2], ARGV[3]
local held = redis.pcall('XPENDING', source, group, entry_id, entry_id, 1)
if held.err or not held[1] or held[1][2] ~= consumer then return 0 end
redis.call('XCLAIM', source, group, consumer, 0, entry_id, 'JUSTID')
return 1
