-- requeue: take a message out of a consumer's hands, to come again after a while.
--
-- KEYS  1 the stream it was taken from  2 events:{topic}:{channel}:later
-- ARGV  1 channel  2 consumer  3 entry id  4 delay in ms  5 attempts that are counted  6 '1': delete the entry
-- Returns 1; 0 if the message is not in this consumer's hands any more, then nothing is done
--
-- Atomic: it is either in hand or waits. The time is this server's. O(log n).
local source, later = KEYS[1], KEYS[2]
local group, consumer, entry_id = ARGV[1], ARGV[2], ARGV[3]
local delay_ms, attempts, delete_it = ARGV[4], ARGV[5], ARGV[6]
local held = redis.pcall('XPENDING', source, group, entry_id, entry_id, 1)
if held.err or not held[1] or held[1][2] ~= consumer then return 0 end
local entry = redis.call('XRANGE', source, entry_id, entry_id)[1]
if entry then
  local field = {}
  for i = 1, #entry[2], 2 do field[entry[2][i]] = entry[2][i + 1] end
  local time = redis.call('TIME')
  local due = time[1] * 1000 + math.floor(time[2] / 1000) + delay_ms
  redis.call('ZADD', later, due,
    cjson.encode({ field.id or '', field.action or '', field.body or '', field.published_at or '', attempts }))
end
redis.call('XACK', source, group, entry_id)
if delete_it == '1' then redis.call('XDEL', source, entry_id) end
return 1
