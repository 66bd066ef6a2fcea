-- push(user, guarded): put the photo on top of a user's home feed, guarded only if it is not in it. Part of
-- the scripts that push.
--
-- Needs photo, HOME, FLOOR, TOKEN, keep, trim_above and only_active (leave out users without a list). Sets
-- `pushed` with the first push. Raises what Redis says of a feed that takes no push. O(1), about a
-- microsecond; guarded O(MAX_LENGTH), some ten.
--#include private_key
local pushed, PUSH, push = false, only_active and 'LPUSHX' or 'LPUSH', nil
do
  local call = redis.call

  -- The token goes first. Where a key cannot be had (its slot moves to another node), nothing is cut off.
  local function trim(user, feed)
    local floor_key = private_key(FLOOR, user)
    call('DEL', private_key(TOKEN, user))
    local floor = tonumber(call('GET', floor_key))
    if floor then
      local top = floor - 1
      for _, id in ipairs(call('LRANGE', feed, keep, -1)) do
        id = tonumber(id)
        if id and id > top then top = id end
      end
      call('SET', floor_key, string.format('%.0f', top + 1))
    end
    call('LTRIM', feed, 0, keep - 1)
  end

  -- A push that makes a list (it was gone, or never there) voids the floor; one too many trims.
  function push(user, guarded)
    local feed = HOME .. user
    if guarded and call('LPOS', feed, photo) then return end
    local size = call(PUSH, feed, photo)
    pushed = true
    if size <= 1 then
      -- 0: left out. Whoever builds this feed at the moment may have read SQL before this photo.
      call('DEL', private_key(FLOOR, user), private_key(TOKEN, user))
    elseif size > trim_above then
      pcall(trim, user, feed)
    end
  end
end
