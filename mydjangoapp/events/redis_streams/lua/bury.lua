-- bury: take a message out of a consumer's hands and put it to the dead letters.
--
-- KEYS  1 the stream it was taken from  2 events:{topic}:{channel}:dead
-- ARGV  1 channel  2 consumer  3 entry id  4 attempts  5 reason  6 '1': delete the entry
-- Returns 1; 0 if the message is not in this consumer's hands any more, then nothing is done
--
-- Atomic: it is either in hand or dead. All its fields are kept, also of what is no message. O(fields).
local source, dead = KEYS[1], KEYS[2]
local group, consumer, entry_id = ARGV[1], ARGV[2], ARGV[3]
local attempts, reason, delete_it = ARGV[4], ARGV[5], ARGV[6]
local held = redis.pcall('XPENDING', source, group, entry_id, entry_id, 1)
if held.err or not held[1] or held[1][2] ~= consumer then return 0 end
local entry = redis.call('XRANGE', source, entry_id, entry_id)[1]
if entry then
  local fields = {}
  for i = 1, #entry[2], 2 do
    if entry[2][i] ~= 'attempts' and entry[2][i] ~= 'reason' then
      fields[#fields + 1] = entry[2][i]
      fields[#fields + 1] = entry[2][i + 1]
    end
  end
  redis.call('XADD', dead, '*', 'attempts', attempts, 'reason', reason, unpack(fields))
end
redis.call('XACK', source, group, entry_id)
if delete_it == '1' then redis.call('XDEL', source, entry_id) end
return 1
