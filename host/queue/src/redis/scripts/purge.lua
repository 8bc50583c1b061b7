-- purge: remove up to max tasks of one state; what waits for them is told they were
-- cancelled.
-- KEYS[1]  queue prefix
-- ARGV     state (blocked, scheduled, pending or failed), max
-- Returns  { how many were removed; call again until 0, outbox (1 = has events) }
-- Cost     O(max log n), plus one read per line and lane looked at, at most 64 of each
local L = lib()
local head, bonds, count_live, unbind, announce, release, unpark =
  L.head, L.bonds, L.count_live, L.unbind, L.announce, L.release, L.unpark
local max, removed = tonumber(ARGV[2]), 0
local function remove(index, laned)
  local ids
  if index == DEAD then
    -- Those that were kept long enough are gone already.
    ids = try('ZRANGEBYSCORE', index, int(now), '+inf', 'LIMIT', '0', int(max - removed))
    if #ids > 0 then call('ZREM', index, unpack(ids)) end
  else
    ids = try('ZRANGE', index, '0', int(max - removed - 1))
    if #ids > 0 then call('ZREMRANGEBYRANK', index, '0', int(#ids - 1)) end
  end
  if #ids == 0 then return end
  local kinds = {}
  for i = 1, #ids do
    local id = ids[i]
    kinds[i] = 'x'
    if index ~= DEAD then
      local h = head(id)
      local b = bonds(h)
      if h then count_live(h[3], -1) end
      if h and laned then try('HINCRBY', P .. ':laned', h[2], '-1') end
      if b then unbind(id, b, 'x') end
    end
    call('UNLINK', TASK .. id)
  end
  if index ~= DEAD then announce(ids, kinds) end
  removed = removed + #ids
end
local function remove_line(task_type, tenant)
  local line = READY .. task_type .. ':' .. tenant
  if removed < max then remove(line) end
  if call('EXISTS', line) == 0 then try('ZREM', RING .. task_type, tenant) end
end
if ARGV[1] == 'pending' then
  -- What leaves a lane makes room in it: nothing is let in while everything goes.
  L.let_nobody_in()
  for _, key in ipairs(try('ZRANGE', P .. ':lanes', '0', '63')) do
    if removed < max then remove(P .. ':lane:' .. key, true) end
    release(key)
  end
  for _, t in ipairs(try('SMEMBERS', P .. ':types')) do
    for _, tenant in ipairs(try('ZRANGE', RING .. t, '0', '63')) do remove_line(t, tenant) end
  end
  for _, tenant in ipairs(try('ZRANGE', P .. ':parked', '0', '63')) do
    for _, t in ipairs(try('SMEMBERS', P .. ':parked:' .. tenant)) do remove_line(t, tenant) end
    if removed < max then unpark(tenant) end
  end
elseif ARGV[1] == 'scheduled' then
  remove(SCHEDULED)
elseif ARGV[1] == 'blocked' then
  remove(P .. ':blocked')
elseif ARGV[1] == 'failed' then
  remove(DEAD)
end
if removed > 0 then try('HINCRBY', STATS, 'purged', int(removed)) end
write_live()
return { removed, call('EXISTS', OUTBOX) }
