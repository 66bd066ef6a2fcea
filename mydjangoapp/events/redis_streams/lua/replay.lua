-- replay: bring dead letters back to their channel, with no attempt counted.
--
-- KEYS  1 events:{topic}:{channel}:dead  2 events:{topic}:{channel}:again
-- ARGV  1 at most so many
-- Returns how many that were
--
-- Atomic: a letter is either dead or back. O(letters).
local dead, again = KEYS[1], KEYS[2]
local most = ARGV[1]
local letters = redis.call('XRANGE', dead, '-', '+', 'COUNT', most)
for _, letter in ipairs(letters) do
  local fields = {}
  for i = 1, #letter[2], 2 do
    if letter[2][i] ~= 'attempts' and letter[2][i] ~= 'reason' then
      fields[#fields + 1] = letter[2][i]
      fields[#fields + 1] = letter[2][i + 1]
    end
  end
  redis.call('XADD', again, '*', 'attempts', '0', unpack(fields))
  redis.call('XDEL', dead, letter[1])
end
return #letters
