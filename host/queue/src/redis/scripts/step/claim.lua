-- Claim.
local members, records, flags = {}, {}, {}
-- The earliest time at which a rate gives back what it held from this step, in µs.
local soon_us = FAR_US
local TURN, SLACK_US, MAX_TURNS, MAX_PARKED, STRIDE = 16, 10000, 64, 100, 10000
local queue_bound, queue_soon_us, type_bounds, tenants, touched = nil, FAR_US, {}, {}, {}
local popped_in_all = 0
-- Bytes of records that this claim may still bring, and how many of them itself: for what it
-- carries, everybody waits. Whether the step has claimed before.
local left_bytes, left_here, begun = tonumber(take()), 4194304, take() == '1'
-- The records of the ids, or the lengths of long ones, as far as they were looked at; whether
-- some were left in line for their bytes.
local found, spared = {}, false
local CHUNK = 8
-- Read the records of those at the head of a line, in pieces: no more than one piece is read
-- in vain. Leaves those whose records fit; a record that is longer than all that may come,
-- comes alone.
local function fetch(popped)
  local before, got = #found, 0
  while got < #popped and not spared do
    local keys, n, lengths = {}, math.min(CHUNK, #popped - got), nil
    for i = 1, n do keys[i] = TASK .. popped[got + i] end
    if HAS_LONG then
      lengths = {}
      local short = {}
      for i = 1, n do
        local length = try('STRLEN', keys[i])
        if type(length) == 'number' and length >= LONG then
          lengths[i] = length
        else
          short[#short + 1] = keys[i]
        end
      end
      keys = short
    end
    local records, at = keys[1] and call('MGET', unpack(keys)), 0
    for i = 1, n do
      local long, record = lengths and lengths[i], nil
      if not long then
        at = at + 1
        record = records[at]
      end
      local length = long or record and #record or 0
      if (length > left_bytes or not long and length > left_here)
        and (begun or before + got > 0) then
        spared = true
        break
      end
      left_bytes = left_bytes - length
      if not long then left_here = left_here - length end
      got = got + 1
      found[before + got] = long or record
    end
  end
  for i = #popped, got + 1, -1 do popped[i] = nil end
end
-- Whether a task is bound to others, by its record or the length of a long one.
local function is_bound(id, record)
  if type(record) == 'string' then return byte(record) == BOUND end
  return try('GETRANGE', TASK .. id, '0', '0') == string.char(BOUND)
end

if config[1] then want = 0 end
if want > 0 and config[2] then
  want = math.max(0, math.min(want, tonumber(config[2]) - call('ZCARD', LEASES)))
end
if want > 0 and limited('q') then
  local L = lib()
  local b = L.bounds('q')
  if b then
    queue_bound = L.allowance('q', nil, b[2], b[3])
    if L.room(queue_bound) < want then
      want = math.max(0, L.room(queue_bound))
      L.use(queue_bound, want)
      queue_soon_us = L.frees_at(queue_bound)
    end
  end
end
-- Those of some tenants that stand in a type's ring, in their order.
local in_ring = narrow and function(t, tenants)
  local scores, found = try('ZMSCORE', RING .. t, unpack(tenants)), {}
  for i = 1, #tenants do
    if scores[i] then found[#found + 1] = tenants[i] end
  end
  return found
end
-- Leave out the types that are paused or at their bound.
local held_types = config[6]
if want > 0 and (held_types or limited('t')) then
  local L = lib()
  local function is_held(t, tenants)
    local b = limited('t') and L.bounds('t:' .. t)
    if b then type_bounds[t] = L.allowance('t:' .. t, b[1], b[2], b[3]) end
    if held_types and try('SISMEMBER', P .. ':paused', t) == 1 then return true end
    if not b or L.room(type_bounds[t]) > 0 then return false end
    if tenants and next(in_ring(t, tenants)) or not tenants and call('EXISTS', RING .. t) == 1 then
      soon_us = math.min(soon_us, L.frees_at(type_bounds[t]))
    end
    return true
  end
  for k = #types, 1, -1 do
    if is_held(types[k]) then table.remove(types, k) end
  end
  for k = narrow and #narrow or 0, 1, -1 do
    if is_held(narrow[k][1], narrow[k][2]) then table.remove(narrow, k) end
  end
end

-- Leave out the types of which nobody is known to have a line: one look for all of them.
local lineless = {}
if want > 0 and #types > 1 then
  local ringed = try('SMISMEMBER', RINGS, unpack(types))
  for k = #types, 1, -1 do
    if ringed[k] == 0 then lineless[#lineless + 1] = RING .. table.remove(types, k) end
  end
end

-- A type and the one tenant it is served for, by the name that stands for both among `types`.
local only
if want > 0 and narrow then
  only = {}
  local names = {}
  for i = 1, #narrow do names[i] = narrow[i][1] end
  local ringed = #names > 0 and try('SMISMEMBER', RINGS, unpack(names)) or {}
  for i = 1, #narrow do
    local t = names[i]
    if ringed[i] == 0 then
      lineless[#lineless + 1] = RING .. t
    else
      for _, tenant in ipairs(in_ring(t, narrow[i][2])) do
        local name = t .. ':' .. tenant
        only[name] = { type = t, tenant = tenant }
        types[#types + 1] = name
      end
    end
  end
end

if want > 0 and #types > 0 then
  local ids, heads, runs = {}, {}, {}
  local turns, parked, present = 0, 0, 0
  while #ids < want and #types > 0 do
    if turns == MAX_TURNS or parked == MAX_PARKED then
      again = true
      break
    end
    turns = turns + 1
    -- Whose turn is it? The tenant with the least virtual time over all types served, where
    -- none is in the past; of those that are, the one that is furthest behind.
    local first, first_v, shared
    for k = #types, 1, -1 do
      local t = types[k]
      local c = heads[t]
      local own = only and only[t]
      if not c then
        local ring, true_v
        local in_type = own and own.type or t
        -- Those who were served through another type since are put in their places. A ring
        -- is in the order of turns whatever the present is.
        for _ = 1, MAX_PARKED do
          if own then
            ring = { own.tenant, call('ZSCORE', RING .. in_type, own.tenant) }
            if not ring[2] then ring[1] = nil end
          else
            ring = call('ZRANGE', RING .. t, '0', '1', 'WITHSCORES')
          end
          if not ring[1] then break end
          local v = call('HMGET', VTIME, ring[1], '')
          true_v = math.max(tonumber(ring[2]), tonumber(v[1] or 0))
          present = tonumber(v[2] or 0)
          if true_v == tonumber(ring[2]) then break end
          call('ZADD', RING .. in_type, int(true_v), ring[1])
        end
        if ring[1] then
          c = { tenant = ring[1], v = true_v, shared = ring[3] ~= nil, type = in_type, name = t }
          heads[t] = c
        else
          table.remove(types, k)
          -- The last one stays: to look at it alone costs no more than to look it up.
          if #types > 0 and not own then try('SREM', RINGS, t) end
        end
      end
      if c then
        if #types > 1 and not c.score then
          local first = call('ZRANGE', READY .. c.type .. ':' .. c.tenant, '0', '0', 'WITHSCORES')
          c.score = tonumber(first[2] or 0)
        end
        shared = shared or c.shared
        local v = math.max(c.v, present)
        if not first or v < first_v or v == first_v
          and (c.v < first.v or c.v == first.v and (c.score or 0) < (first.score or 0)) then
          first, first_v = c, v
        end
      end
    end
    if not first then break end
    -- Between types of this tenant, the older or more urgent head goes first.
    local best, next_own
    for k = #types, 1, -1 do
      local c = heads[types[k]]
      if c.tenant ~= first.tenant then
        shared = true
      elseif not best or c.score < best.score then
        best, next_own = c, best and best.score
      elseif not next_own or c.score < next_own then
        next_own = c.score
      end
    end
    local quota, stride, tenant = want - #ids, STRIDE, nil
    if shared then quota = math.min(quota, TURN) end
    if limited('T') then
      tenant = tenants[best.tenant] or lib().tenant_allowance(best.tenant)
      tenants[best.tenant] = tenant
      quota, stride = math.min(quota, lib().room(tenant)), tenant.stride
    end
    local bounded = type_bounds[best.type]
    if bounded then quota = math.min(quota, lib().room(bounded)) end
    if quota <= 0 then
      -- Only the tenant's own bound leaves nothing here.
      local until_us = lib().frees_at(tenant)
      lib().park(best.tenant, best.type, until_us)
      soon_us = math.min(soon_us, until_us)
      turns, parked = turns - 1, parked + 1
      heads[best.name] = nil
    else
      local line = READY .. best.type .. ':' .. best.tenant
      local popped
      if next_own then
        popped = call('ZRANGEBYSCORE', line, '-inf', int(next_own + SLACK_US),
          'LIMIT', '0', int(quota))
      else
        popped = call('ZRANGE', line, '0', int(quota - 1))
      end
      fetch(popped)
      if #popped > 0 then
        call('ZREMRANGEBYRANK', line, '0', int(#popped - 1))
        local from = #ids
        for i = 1, #popped do ids[from + i] = popped[i] end
        runs[#runs + 1] = { from + 1, #ids, best.tenant, best.type, 0 }
        local v = first_v + #popped * stride
        -- A tenant alone may take more than a turn: who comes next starts one turn behind it.
        present = first_v + math.max(0, #popped - TURN) * stride
        call('HSET', VTIME, best.tenant, int(v), '', int(present))
        call('ZADD', RING .. best.type, int(v), best.tenant)
        if tenant then lib().use(tenant, #popped) end
        if bounded then lib().use(bounded, #popped) end
      end
      if call('EXISTS', line) == 0 then
        call('ZREM', RING .. best.type, best.tenant)
      end
      heads[best.name] = nil
      for t, c in pairs(heads) do
        if c.tenant == best.tenant then heads[t] = nil end
      end
      if spared then
        again = true
        break
      end
      if bounded and lib().room(bounded) <= 0 then
        soon_us = math.min(soon_us, lib().frees_at(bounded))
        for k = #types, 1, -1 do
          if types[k] == best.type or only and only[types[k]]
            and only[types[k]].type == best.type then table.remove(types, k) end
        end
      end
    end
  end
  popped_in_all = #ids
  if #ids > 0 then
    -- Twenty digits keep members over 64 bytes, so the lease set never is a listpack,
    -- which is searched from its start.
    local token = string.format(':%020d:', call('INCR', P .. ':token'))
    local expiry = int(now + lease_ms)
    local leases, claimed, n, ghosts = {}, {}, 0, 0
    if made then made.forget_rings() end
    for _, run in ipairs(runs) do
      local before = n
      local suffix = token .. run[3] .. ':' .. run[4] .. ':' .. host
      for i = run[1], run[2] do
        local id, record = ids[i], found[i]
        if not record or #id ~= 36 then
          ghosts = ghosts + 1
        elseif not HAS_BOUND or not is_bound(id, record) or lib().admit(id, record, touched) then
          n = n + 1
          if not quiet then claimed[n] = id end
          members[n] = id .. suffix
          records[n] = record
          leases[2 * n - 1] = expiry
          leases[2 * n] = members[n]
          if EVENTS then lib().event('started', id, run[4], run[3]) end
        end
      end
      run[5] = n - before
    end
    if n > 0 then
      call('ZADD', LEASES, unpack(leases))
      if not quiet then flags = try('SMISMEMBER', CANCEL, unpack(claimed)) end
    end
    if ghosts > 0 then try('HINCRBY', STATS, 'ghosts', int(ghosts)) end
    if n + ghosts < #ids then again = true end
    if LIMITED then
      local started = {}
      for _, run in ipairs(runs) do
        local running = P .. ':running'
        if limited('c') and run[5] > 0 then try('HINCRBY', running, 't:' .. run[4], int(run[5])) end
        if limited('n') and run[5] > 0 then try('HINCRBY', running, 'T:' .. run[3], int(run[5])) end
        started['t:' .. run[4]] = (started['t:' .. run[4]] or 0) + run[5]
        started['T:' .. run[3]] = (started['T:' .. run[3]] or 0) + run[5]
      end
      started.q = n
      local function pay(a)
        local count = a and a.interval and started[a.name] or 0
        if count > 0 then lib().spend(a.name, a.tat, a.interval, count) end
      end
      pay(queue_bound)
      for _, a in pairs(type_bounds) do pay(a) end
      for name, a in pairs(tenants) do
        pay(a)
        -- What was taken out of line and not claimed leaves room after all.
        if a.taken > (started[a.name] or 0) then lib().unpark(name) end
      end
    end
    for key in pairs(touched) do lib().release(key) end
    -- A full claim may have left work behind: pass the wake-up on.
    if #ids >= want or spared then
      for _, t in ipairs(types) do
        local own = only and only[t]
        if own then
          if call('ZSCORE', RING .. own.type, own.tenant) then wake(own.type, own.tenant) end
        elseif call('EXISTS', RING .. t) == 1 then
          wake(t)
        end
      end
    end
  end
end

-- Room is left over: was anybody overlooked? Then somebody else's hand was in `rings`.
if popped_in_all < want and #lineless > 0 and call('EXISTS', unpack(lineless)) > 0 then
  for i = 1, #lineless do
    if call('EXISTS', lineless[i]) == 1 then try('SADD', RINGS, sub(lineless[i], #RING + 1)) end
  end
  again = true
end

-- How long an idle host may sleep.
local next_ms = -1
local function no_later(time_ms)
  local left_ms = math.max(0, time_ms - now)
  if next_ms < 0 or left_ms < next_ms then next_ms = left_ms end
end
if #members < asked or asked == 0 then
  local first = call('ZRANGE', SCHEDULED, '0', '0', 'WITHSCORES')
  if first[2] then no_later(tonumber(first[2])) end
  first = call('ZRANGE', LEASES, '0', '0', 'WITHSCORES')
  if first[2] then no_later(tonumber(first[2])) end
  if first_expiry[2] then no_later(tonumber(first_expiry[2])) end
  if LIMITED then
    for _, waits in ipairs({ 'parked', 'lanes' }) do
      first = try('ZRANGE', P .. ':' .. waits, '0', '0', 'WITHSCORES')
      if first[2] then soon_us = math.min(soon_us, tonumber(first[2])) end
    end
    -- A queue's tokens only matter if there was work for all of them.
    if popped_in_all >= want then soon_us = math.min(soon_us, queue_soon_us) end
    if soon_us < FAR_US then no_later(math.ceil(soon_us / 1000)) end
  end
end
if again then next_ms = 0 end
-- While hosts serve types for single tenants, wake-ups say whose work it is: for ten minutes
-- since one of them was last heard.
if narrow and (tonumber(config[8]) or 0) < now + 300000 then
  try('HSET', CONFIG, 'narrow', int(now + 600000))
end
-- Hosts tell the queue how long it keeps tasks that end without one of them.
if config[5] ~= ARGV[6] then try('HSET', CONFIG, 'kept', ARGV[6]) end
write_live()
return {
  stale, lost, cancels, members, records, flags, next_ms, reclaimed,
  quiet and not made and 0 or call('EXISTS', OUTBOX), unsent,
}
