-- purge: remove up to max tasks of one state.
-- KEYS[1]  queue prefix
-- ARGV     state (pending, scheduled or failed), max
-- Returns  how many were removed; call again until 0
-- Cost     O(max log n), plus one read per line
local max, removed = tonumber(ARGV[2]), 0
local function remove(index, count)
  local ids = redis.call('ZRANGE', index, '0', int(count - 1))
  if #ids == 0 then return 0 end
  local keys = {}
  for i = 1, #ids do keys[i] = TASK .. ids[i] end
  redis.call('UNLINK', unpack(keys))
  redis.call('ZREMRANGEBYRANK', index, '0', int(#ids - 1))
  announce(ids)
  return #ids
end
if ARGV[1] == 'pending' then
  for _, t in ipairs(redis.call('SMEMBERS', P .. ':types')) do
    for _, tenant in ipairs(redis.call('ZRANGE', RING .. t, '0', '63')) do
      local line = READY .. t .. ':' .. tenant
      if removed < max then removed = removed + remove(line, max - removed) end
      if redis.call('EXISTS', line) == 0 then redis.call('ZREM', RING .. t, tenant) end
    end
  end
elseif ARGV[1] == 'scheduled' then
  removed = remove(SCHEDULED, max)
elseif ARGV[1] == 'failed' then
  removed = remove(DEAD, max)
end
if removed > 0 then redis.call('HINCRBY', STATS, 'purged', int(removed)) end
return removed
