-- open_batches(text), as_text(batches): what the field `open` of a fan-out says: batches that were claimed and
-- are not committed, each `start:stop:token:claimed:void:left` (`void`: from when on, in this server's time, no
-- push is on its way that does not look whether the photo is there; 0: there never was one. `left`: the
-- leftover that this is, `count:ranges` of slots; empty: the whole batch). Part of the scripts that claim and
-- commit.
local function open_batches(text)
  local batches = {}
  for start, stop, token, claimed, void, left in
      string.gmatch(text or '', '(%d+):(%d+):(%w+):([%d.]+):([%d.]+):?([%d:,-]*)') do
    batches[#batches + 1] = {start = tonumber(start), stop = tonumber(stop), token = token,
      claimed = tonumber(claimed), void = tonumber(void), left = left}
  end
  return batches
end

local function as_text(batches)
  local entries = {}
  for i, b in ipairs(batches) do
    entries[i] = string.format('%.0f:%.0f:%s:%.6f:%.6f:%s', b.start, b.stop, b.token, b.claimed, b.void,
      b.left or '')
  end
  return table.concat(entries, ' ')
end
