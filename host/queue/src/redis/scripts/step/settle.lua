-- Settle: end, retry or give back what claims came to. A member still in the lease set is
-- the newest claim; any other is stale. Between taking it out and writing the record nothing
-- may fail.
local SETTLE_EVENTS = EVENTS and
  { c = 'completed', d = 'failed', u = 'failed', x = 'cancelled', r = 'retried', b = 'returned' }
local stale, unsent, finished, kinds, buried, counts = {}, {}, {}, {}, {}, {}
local returns, ids_left = {}, {}
-- Where the tasks that completed ones submit begin among the arguments.
local births = {}
local ended = 0
-- Put an entry behind its record, and before it what of it was sent ahead.
local function append(key, entry, draft, base)
  if draft then lib().take_draft(key, draft, base) end
  local length = try('APPEND', key, entry)
  if type(length) ~= 'number' then return end
  if length >= LONG and not HAS_LONG then lib().grown_to(length) end
  -- APPEND leaves a string with as much spare room as it has bytes, up to 1 MiB; BITOP, which
  -- copies it, with none: 5 ms for 8 MB, so what is longer keeps its room.
  if length < 1048576 then try('BITOP', 'OR', key, key) end
end
-- Whether all is there of the submitted tasks that was sent ahead.
local function children_are_there(from)
  local own = tonumber(ARGV[from])
  if not lib().are_there(from + 1, own) then return false end
  from = from + 1 + 6 * own
  for j = from + 1, from + 2 * tonumber(ARGV[from]), 2 do
    local draft = byte(ARGV[j + 1]) == AHEAD and lib().draft_of(sub(ARGV[j], -36), ARGV[j + 1])
    if draft and call('EXISTS', draft) == 0 then return false end
  end
  return true
end
-- Until when a record is kept, for the retention that came last: most settlements share one.
local kept_ms, until_ms
local anyone_linked = not quiet and call('EXISTS', LINKED) == 1
-- Most settlements of a step share kind, retention and `tenant:type:host`.
local tail, run_kind, run_ttl, run_left = '', nil, nil, 0
for i = 1, tonumber(take()) do
  if run_left == 0 then run_kind, run_ttl, run_left = take(), take(), tonumber(take()) end
  run_left = run_left - 1
  local kind, ttl, member, entry = run_kind, run_ttl, ARGV[at], ARGV[at + 1]
  local id = sub(member, 1, 36)
  local delay, task_type, tenant, priority, born_at
  at = at + 2
  if kind == 'b' then
    task_type, tenant, priority, entry = entry, take(), tonumber(take()), nil
  elseif kind == 'r' then
    delay = tonumber(take())
  elseif kind == 's' then
    kind, born_at = 'c', at
    at = at + 1 + 6 * tonumber(ARGV[at])
    at = at + 1 + 2 * tonumber(ARGV[at])
  end
  local draft, base
  if entry and byte(entry) == AHEAD then
    draft, base, entry = P .. ':draft:' .. sub(member, 1, 57), tonumber(sub(entry, 2)), ''
  end
  if draft and not lib().is_whole(draft) or born_at and not children_are_there(born_at) then
    unsent[#unsent + 1] = i
  elseif call('ZREM', LEASES, member) == 0 then
    stale[#stale + 1] = i
    if draft then try('UNLINK', draft) end
  else
    if born_at then births[#births + 1] = born_at end
    if find(member, tail, 59, true) ~= 59 or #member ~= #tail + 58 then tail = sub(member, 59) end
    left[tail] = (left[tail] or 0) + 1
    if not quiet then
      ids_left[#ids_left + 1] = id
      if (kind == 'r' or kind == 'b') and try('SISMEMBER', CANCEL, id) == 1 then
        entry = (entry or '') .. cmsgpack.pack({ C = { now } })
        kind = 'x'
      end
    end
    counts[kind] = (counts[kind] or 0) + 1
    if EVENTS then
      local tenant_name, type_name = string.match(tail, '^([^:]*):([^:]*):')
      lib().event(SETTLE_EVENTS[kind], id, type_name or '', tenant_name or '')
    end
    local key = TASK .. id
    if kind == 'b' then
      alive[tail] = (alive[tail] or 0) + 1
      returns[#returns + 1] = { id, task_type, tenant, priority }
    elseif kind == 'u' then
      local h = lib().head(id)
      try('SET', key, entry, 'PX', ttl)
      lib().grown_to(#entry)
      try('ZADD', DEAD, int(now + tonumber(ttl)), id)
      buried[#buried + 1] = id
      local b = lib().bonds(h)
      if b then lib().unbind(id, b, 'd') end
    else
      local b
      if HAS_BOUND and try('GETRANGE', key, '0', '0') == string.char(BOUND) then
        b = lib().bonds(lib().head(id))
      end
      if anyone_linked and kind == 'c' and tonumber(ttl) < lib().TELL_MS
        and try('SISMEMBER', LINKED, id) == 1 then
        lib().kept_longer[id] = int(now + tonumber(ttl))
        ttl = int(lib().TELL_MS)
      end
      -- The server puts the record together, since Lua hashes every byte that it is shown.
      if kind == 'r' then
        append(key, entry, draft, base)
        alive[tail] = (alive[tail] or 0) + 1
        try('ZADD', SCHEDULED, int(now + delay), id)
        if b and b.key then lib().leave_lane(id, b.key) end
      else
        if ttl == '0' then
          try('UNLINK', key)
          if draft then try('UNLINK', draft) end
        else
          append(key, entry, draft, base)
          if ttl ~= kept_ms then kept_ms, until_ms = ttl, int(now + tonumber(ttl)) end
          try('PEXPIREAT', key, until_ms)
        end
        if kind == 'd' then
          try('ZADD', DEAD, int(now + tonumber(ttl)), id)
          buried[#buried + 1] = id
        else
          ended = ended + 1
          finished[ended] = id
          if kind ~= 'c' then kinds[ended] = kind end
        end
        if b then lib().unbind(id, b, kind) end
      end
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
-- Submit what completed tasks submit, now that all ends of this step have freed their unique
-- keys. What goes to another queue waits here, its record beside the outbox.
if #births > 0 then
  local born, gone = 0, 0
  for i = 1, #births do
    local from = births[i]
    local own = tonumber(ARGV[from])
    lib().store_given(from + 1, own, born)
    born, from = born + own, from + 1 + 6 * own
    for j = from + 1, from + 2 * tonumber(ARGV[from]), 2 do
      local key, record = P .. ':sent:' .. ARGV[j], ARGV[j + 1]
      local length = #record
      if byte(record) == AHEAD then
        try('RENAME', lib().draft_of(sub(ARGV[j], -36), record), key)
        try('PERSIST', key)
        length = tonumber(try('STRLEN', key)) or 0
      else
        try('SET', key, record)
      end
      -- The number keeps them in order, and the size tells how many are carried at a time.
      try('ZADD', OUTBOX, int(now), string.format('s %06d %s %d', gone, ARGV[j], length))
      gone = gone + 1
    end
  end
  -- One of them may expire, or wait for others.
  quiet = false
end
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

-- Metering, by day, tenant, plugin and type.
local metered = tonumber(take())
if metered > 0 then
  local day = P .. ':usage:' .. int(math.floor(now / 86400000))
  local used = limited('u') and {}
  for _ = 1, metered do
    local row, attempts = take(), take()
    local tenant = used and string.match(row, '^[^:]*')
    if try('HINCRBY', day, row .. ':a', attempts) == tonumber(attempts) then
      row = lib().open_usage_row(day, row, attempts)
    end
    for _ = 1, tonumber(take()) do
      local field, n = take(), take()
      try('HINCRBY', day, row .. field, n)
      if used and (field == ':f' or field == ':m') then
        local of = used[tenant] or { f = 0, m = 0 }
        used[tenant] = of
        of[sub(field, 2)] = of[sub(field, 2)] + tonumber(n)
      end
    end
  end
  for tenant, of in pairs(used or {}) do lib().take_usage(tenant, of) end
end
