-- private_key(word, user): a key of the user that lies in the slot of homefeed:{user}; the same as
-- connections/hash_tags.py makes. Part of scripts that make such keys themselves, for users whom they read.
--
-- Needs HOME, what precedes a user id in homefeed: keys. O(1), under a microsecond; some 20 for an id with a
-- closing brace.
local private_key
do
  local LETTERS_OF_BIT =
    {6906, 1773, 10107, 4364, 10897, 14784, 8035, 10111, 4356, 8712, 7146, 1229, 9019, 6540}
  local SLOT_OF_NO_LETTERS = 13881

  local function slot_of(key)
    local crc = 0
    for i = 1, #key do
      crc = bit.bxor(crc, bit.lshift(string.byte(key, i), 8))
      for _ = 1, 8 do
        crc = bit.lshift(crc, 1)
        if crc >= 65536 then crc = bit.bxor(crc, 0x11021) end
      end
    end
    return bit.band(crc, 16383)
  end

  local function text_in(slot)
    local turned, numbers = bit.bxor(slot, SLOT_OF_NO_LETTERS), 0
    for i = 1, 14 do
      if bit.band(bit.rshift(turned, i - 1), 1) == 1 then numbers = bit.bxor(numbers, LETTERS_OF_BIT[i]) end
    end
    local text = ''
    for shift = 12, 0, -4 do text = text .. string.char(64 + bit.band(bit.rshift(numbers, shift), 15)) end
    return text
  end

  function private_key(word, user)
    local key = HOME .. user
    if not string.find(key, '}', 1, true) then return word .. '{' .. key .. '}' end
    if string.match(key, '^[^{]*{[^}]+}') then return word .. key end
    return word .. '{' .. text_in(slot_of(key)) .. '}:' .. key
  end
end
