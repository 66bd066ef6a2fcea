-- requeue: take a message out of a consumer's hands, to come again after a while.
--
-- KEYS  1 the stream it was taken from  2 events:{topic}:{channel}:later
-- ARGV  1 channel  2 consumer  3 entry id  4 delay in ms  5 attempts that are counted  6 '1': delete the entry
-- Returns 1; 0 if the message is not in this consumer's hands any more, then nothing is done
--
-- Atomic: it is either in hand or waits. The time is this server's. O(log n).
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if held.err or not held[1] or held[1][2] ~= ARGV[2] then return 0 end
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if entry then
  local field = {}
  for i = 1, #entry[2], 2 do field[entry[2][i]] = entry[2][i + 1] end
  local time = redis.call('TIME')
  local due = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[4]
  redis.call('ZADD', KEYS[2], due,
    cjson.encode({ field.id or '', field.action or '', field.body or '', field.published_at or '', ARGV[5] }))
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
if ARGV[6] == '1' then redis.call('XDEL', KEYS[1], ARGV[3]) end
return 1
