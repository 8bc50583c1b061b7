-- Settle: end, retry or give back what claims came to. A member still in the lease set is
-- the newest claim; any other is stale. Between taking it out and writing the record nothing
-- may fail.
local SETTLE_EVENTS = EVENTS and
  { c = 'completed', d = 'failed', u = 'failed', x = 'cancelled', r = 'retried', b = 'returned' }
local stale, finished, kinds, buried, counts = {}, {}, {}, {}, {}
local live_ids, live_ttls, live_entries, live_kinds = {}, {}, {}, {}
local returns, ids_left = {}, {}
local live, ended = 0, 0
for i = 1, tonumber(take()) do
  local member, kind, ttl = take(), take(), take()
  local id = sub(member, 1, 36)
  local entry, delay, task_type, tenant, priority
  if kind == 'b' then
    task_type, tenant, priority = take(), take(), tonumber(take())
  else
    entry = take()
    if kind == 'r' then delay = tonumber(take()) end
  end
  if call('ZREM', LEASES, member) == 0 then
    stale[#stale + 1] = i
  else
    local tail = sub(member, 59)
    left[tail] = (left[tail] or 0) + 1
    if not quiet then ids_left[#ids_left + 1] = id end
    if (kind == 'r' or kind == 'b') and not quiet and try('SISMEMBER', CANCEL, id) == 1 then
      entry = (entry or '') .. cmsgpack.pack({ C = { now } })
      kind = 'x'
    end
    counts[kind] = (counts[kind] or 0) + 1
    if EVENTS then
      local tenant_name, type_name = string.match(tail, '^([^:]*):([^:]*):')
      lib().event(SETTLE_EVENTS[kind], id, type_name or '', tenant_name or '')
    end
    if kind == 'b' then
      alive[tail] = (alive[tail] or 0) + 1
      returns[#returns + 1] = { id, task_type, tenant, priority }
    elseif kind == 'u' then
      local h = lib().head(id)
      try('SET', TASK .. id, entry, 'PX', ttl)
      try('ZADD', DEAD, int(now + tonumber(ttl)), id)
      buried[#buried + 1] = id
      local b = lib().bonds(h)
      if b then lib().unbind(id, b, 'd') end
    else
      live = live + 1
      live_ids[live], live_entries[live] = id, entry
      if kind ~= 'c' then live_kinds[live] = kind end
      if kind == 'r' then
        live_ttls[live] = false
        alive[tail] = (alive[tail] or 0) + 1
        try('ZADD', SCHEDULED, int(now + delay), id)
      else
        live_ttls[live] = ttl
        if kind == 'd' then
          try('ZADD', DEAD, int(now + tonumber(ttl)), id)
          buried[#buried + 1] = id
        else
          ended = ended + 1
          finished[ended] = id
          if kind ~= 'c' then kinds[ended] = kind end
        end
      end
    end
  end
end
if #live_ids > 0 then
  if not quiet and call('EXISTS', LINKED) == 1 then
    local linked = try('SMISMEMBER', LINKED, unpack(live_ids))
    for i = 1, #live_ids do
      if linked[i] == 1 and not live_kinds[i] and live_ttls[i]
        and tonumber(live_ttls[i]) < lib().TELL_MS then
        lib().kept_longer[live_ids[i]] = int(now + tonumber(live_ttls[i]))
        live_ttls[i] = int(lib().TELL_MS)
      end
    end
  end
  local keys, bound = {}, {}
  for i = 1, #live_ids do keys[i] = TASK .. live_ids[i] end
  local records = call('MGET', unpack(keys))
  for i = 1, #keys do
    local record = records[i] or ''
    if not live_ttls[i] then
      try('SET', keys[i], record .. live_entries[i])
    elseif live_ttls[i] == '0' then
      try('UNLINK', keys[i])
    else
      try('SET', keys[i], record .. live_entries[i], 'PX', live_ttls[i])
    end
    if HAS_BOUND and byte(record) == BOUND then bound[#bound + 1] = i end
  end
  for _, i in ipairs(bound) do
    local b = lib().bonds(lib().read_head(records[i]))
    if b and live_ttls[i] then
      lib().unbind(live_ids[i], b, live_kinds[i] or 'c')
    elseif b and b.key then
      lib().leave_lane(live_ids[i], b.key)
    end
  end
end
for i = 1, #returns do
  local L, r = lib(), returns[i]
  local h, b = { 1, r[2], r[3], r[4] }, nil
  if HAS_BOUND then b = L.bonds(L.head(r[1])) end
  L.come_back(r[1], h, b)
end
if #finished > 0 then
  try('LPUSH', ENDED, unpack(finished))
  try('LTRIM', ENDED, '0', ENDED_MAX)
  if not quiet then lib().announce(finished, kinds) end
end
if #buried > 0 then
  if not quiet then
    local dead = {}
    for i = 1, #buried do dead[i] = 'd' end
    lib().announce(buried, dead)
  end
  local old = try('ZRANGEBYSCORE', DEAD, '-inf', int(now), 'LIMIT', '0', '64')
  if #old > 0 then try('ZREM', DEAD, unpack(old)) end
end
if #ids_left > 0 then try('HDEL', PROGRESS, unpack(ids_left)) end
for kind, n in pairs(counts) do try('HINCRBY', STATS, kind, int(n)) end

-- What running attempts say of themselves.
for _ = 1, tonumber(take()) do
  local member, progress = take(), take()
  if call('ZSCORE', LEASES, member) then
    try('HSET', PROGRESS, sub(member, 1, 36), progress)
    -- This step may yet take that lease back.
    quiet = false
  end
end

-- Metering, by tenant and day.
local metered = tonumber(take())
if metered > 0 then
  local day = P .. ':usage:' .. int(math.floor(now / 86400000))
  for _ = 1, metered do
    local tenant, attempts = take(), take()
    local sum = try('HINCRBY', day, tenant .. ':a', attempts)
    if sum == tonumber(attempts) then try('EXPIRE', day, '34646400') end
    for _ = 1, tonumber(take()) do try('HINCRBY', day, tenant .. take(), take()) end
  end
end
