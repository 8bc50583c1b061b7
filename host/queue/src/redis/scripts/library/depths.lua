-- What stands in the lines and lanes of a queue: the number of tasks by type, those held back
-- by their keys, and when the oldest was put in line (Unix ms, -1 = there is none). At most
-- 2,000 lines are looked at, and `each` is told of those that have tasks.
local function depths_of(L, each)
  local head = L.head
  local count, lines_left, oldest_us, held_back = {}, 2000, FAR_US, 0
  local types = call('SMEMBERS', P .. ':types')
  local added = {}
  local function add(task_type, tenant)
    local line = READY .. task_type .. ':' .. tenant
    -- One that was held back in another type may stand in this ring and be parked.
    if lines_left <= 0 or added[line] then return end
    added[line] = true
    lines_left = lines_left - 1
    local n = call('ZCARD', line)
    count[task_type] = (count[task_type] or 0) + n
    if each and n > 0 then each(line, n) end
    local first = call('ZRANGE', line, '0', '0', 'WITHSCORES')
    local h = first[1] and head(first[1])
    if h then oldest_us = math.min(oldest_us, tonumber(first[2]) + h[4] * HEAD_START_US) end
  end
  for _, t in ipairs(types) do
    for _, tenant in ipairs(call('ZRANGE', RING .. t, '0', '999')) do add(t, tenant) end
  end
  for _, tenant in ipairs(call('ZRANGE', P .. ':parked', '0', '999')) do
    for _, t in ipairs(call('SMEMBERS', P .. ':parked:' .. tenant)) do add(t, tenant) end
  end
  local laned = call('HGETALL', P .. ':laned')
  for i = 1, #laned, 2 do
    held_back = held_back + tonumber(laned[i + 1])
    count[laned[i]] = (count[laned[i]] or 0) + tonumber(laned[i + 1])
  end
  for _, key in ipairs(call('ZRANGE', P .. ':lanes', '0', '99')) do
    local first = call('ZRANGE', P .. ':lane:' .. key, '0', '0', 'WITHSCORES')
    local h = first[1] and head(first[1])
    if h then oldest_us = math.min(oldest_us, tonumber(first[2]) + h[4] * HEAD_START_US) end
  end
  local oldest_ms = oldest_us < FAR_US and math.floor(oldest_us / 1000) or -1
  return { types = types, count = count, held_back = held_back, oldest_ms = oldest_ms }
end
