-- step: everything one host has to say to one queue, and everything it wants.
-- KEYS[1]  queue prefix
-- ARGV     want, lease_ms, host, reclaim_max, promote_max, dead_ttl,
--          n types, type...,
--          n renewals, member...,
--          n settlements, then per settlement: member, kind, and for kind
--            c x d  ttl, entry           complete, cancel, dead-letter
--            u      ttl, record          dead-letter with a new record (the old one is unreadable)
--            r      ttl, entry, delay    retry after delay ms
--            b      ttl, type, tenant, priority   give back, no attempt spent
--          A member is `id:token:host`, as a claim returned it.
-- Returns  { stale settlement indexes (from 1), lost renewal indexes (from 1),
--            ids to cancel among the renewed, members, records, cancelled flags,
--            ms until something is due (-1 = nothing), reclaimed }
-- Cost     O(log n) per settlement, renewal and claim; reclaim and promote are bounded
local want, lease_ms, host = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local at = 7
local function take()
  at = at + 1
  return ARGV[at - 1]
end
local function take_list()
  local list, n = {}, tonumber(take())
  for i = 1, n do list[i] = ARGV[at + i - 1] end
  at = at + n
  return list
end
local types = take_list()
local renewals = take_list()

-- Settle. A member still in the lease set is the newest claim; any other is stale.
local stale, finished, buried, counts = {}, {}, {}, {}
local live_ids, live_ttls, live_entries = {}, {}, {}
local returns = {}
for i = 1, tonumber(take()) do
  local member, kind, ttl = take(), take(), take()
  local id = string.sub(member, 1, 36)
  local entry, delay, task_type, tenant, priority
  if kind == 'b' then
    task_type, tenant, priority = take(), take(), tonumber(take())
  else
    entry = take()
    if kind == 'r' then delay = tonumber(take()) end
  end
  if redis.call('ZREM', LEASES, member) == 0 then
    stale[#stale + 1] = i
  else
    if (kind == 'r' or kind == 'b') and redis.call('SISMEMBER', CANCEL, id) == 1 then
      entry = (entry or '') .. cmsgpack.pack({ C = { now } })
      kind = 'x'
    end
    counts[kind] = (counts[kind] or 0) + 1
    if kind == 'b' then
      returns[#returns + 1] = { id, task_type, tenant, priority }
    elseif kind == 'u' then
      redis.call('SET', TASK .. id, entry, 'PX', ttl)
      redis.call('ZADD', DEAD, int(now + tonumber(ttl)), id)
      buried[#buried + 1] = id
    else
      local n = #live_ids + 1
      live_ids[n], live_entries[n] = id, entry
      if kind == 'r' then
        live_ttls[n] = false
        redis.call('ZADD', SCHEDULED, int(now + delay), id)
      else
        live_ttls[n] = ttl
        if kind == 'd' then
          redis.call('ZADD', DEAD, int(now + tonumber(ttl)), id)
          buried[#buried + 1] = id
        else
          finished[#finished + 1] = id
        end
      end
    end
  end
end
if #live_ids > 0 then
  local keys = {}
  for i = 1, #live_ids do keys[i] = TASK .. live_ids[i] end
  local records = redis.call('MGET', unpack(keys))
  for i = 1, #keys do
    if not live_ttls[i] then
      redis.call('SET', keys[i], (records[i] or '') .. live_entries[i])
    elseif live_ttls[i] == '0' then
      redis.call('UNLINK', keys[i])
    else
      redis.call('SET', keys[i], (records[i] or '') .. live_entries[i], 'PX', live_ttls[i])
    end
  end
end
for i = 1, #returns do
  local r = returns[i]
  make_ready(r[1], r[2], r[3], r[4], RETURN_US)
end
if #finished > 0 then
  redis.call('LPUSH', ENDED, unpack(finished))
  redis.call('LTRIM', ENDED, '0', ENDED_MAX)
end
announce(finished)
if #buried > 0 then
  announce(buried)
  local old = redis.call('ZRANGEBYSCORE', DEAD, '-inf', int(now), 'LIMIT', '0', '64')
  if #old > 0 then redis.call('ZREM', DEAD, unpack(old)) end
end
for kind, n in pairs(counts) do redis.call('HINCRBY', STATS, kind, int(n)) end

-- Renew.
local lost, cancels = {}, {}
if #renewals > 0 then
  local held = redis.call('ZMSCORE', LEASES, unpack(renewals))
  local expiry, live, ids = int(now + lease_ms), {}, {}
  for i = 1, #renewals do
    if held[i] then
      live[#live + 1] = expiry
      live[#live + 1] = renewals[i]
      ids[#ids + 1] = string.sub(renewals[i], 1, 36)
    else
      lost[#lost + 1] = i
    end
  end
  if #live > 0 then
    redis.call('ZADD', LEASES, 'XX', unpack(live))
    if redis.call('EXISTS', CANCEL) == 1 then
      local asked = redis.call('SMISMEMBER', CANCEL, unpack(ids))
      for i = 1, #ids do
        if asked[i] == 1 then cancels[#cancels + 1] = ids[i] end
      end
    end
  end
end

-- Reclaim leases that ran out: the attempt is recorded as lost and the task goes back.
-- What somebody else's hand put into a line may be no id: of another length it is a ghost
-- when it is claimed, of this length it is buried here.
local reclaimed = 0
if ARGV[4] ~= '0' then
  local x = '%x%x%x%x'
  local UUID = '^' .. x .. x .. '%-' .. x .. '%-' .. x .. '%-' .. x .. '%-' .. x .. x .. x .. '$'
  local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(now), 'LIMIT', '0', ARGV[4])
  for i = 1, #expired do
    local member = expired[i]
    local id = string.sub(member, 1, 36)
    redis.call('ZREM', LEASES, member)
    local h = head(id)
    if h and string.find(id, UUID) then
      local holder = string.match(member, ':%d+:(.*)$') or ''
      redis.call('APPEND', TASK .. id, cmsgpack.pack({ L = { now, holder } }))
      make_ready(id, h[2], h[3], h[4], RETURN_US)
    else
      bury(id, tonumber(ARGV[6]))
    end
    reclaimed = reclaimed + 1
  end
  if reclaimed > 0 then redis.call('HINCRBY', STATS, 'reclaimed', int(reclaimed)) end
end

-- Promote what is due.
local due = redis.call('ZRANGEBYSCORE', SCHEDULED, '-inf', int(now), 'LIMIT', '0', ARGV[5])
for i = 1, #due do
  local h = head(due[i])
  if h then
    make_ready(due[i], h[2], h[3], h[4], 0)
  else
    bury(due[i], tonumber(ARGV[6]))
  end
end
if #due > 0 then redis.call('ZREM', SCHEDULED, unpack(due)) end

-- Claim.
local members, records, flags = {}, {}, {}
local config = redis.call('HMGET', CONFIG, 'paused', 'concurrency')
if config[1] then want = 0 end
if want > 0 and config[2] then
  want = math.max(0, math.min(want, tonumber(config[2]) - redis.call('ZCARD', LEASES)))
end
if want > 0 and #types > 0 then
  local TURN, SLACK_US, MAX_TURNS = 16, 10000, 64
  local ids, heads = {}, {}
  for _ = 1, MAX_TURNS do
    if #ids >= want or #types == 0 then break end
    -- Whose turn is it? The tenant with the least virtual time over all types served;
    -- between types of one tenant, the older or more urgent head.
    local best, rival
    for k = #types, 1, -1 do
      local t = types[k]
      local c = heads[t]
      if not c then
        local ring = redis.call('ZRANGE', RING .. t, '0', '1', 'WITHSCORES')
        if ring[1] then
          c = { tenant = ring[1], v = tonumber(ring[2]), shared = ring[3] ~= nil, type = t }
          local true_v = tonumber(redis.call('HGET', VTIME, c.tenant) or 0)
          if true_v > c.v then
            -- Served through another type since: correct its place and look again.
            redis.call('ZADD', RING .. t, int(true_v), c.tenant)
            ring = redis.call('ZRANGE', RING .. t, '0', '1', 'WITHSCORES')
            c = { tenant = ring[1], v = tonumber(ring[2]), shared = ring[3] ~= nil, type = t }
          end
          heads[t] = c
        else
          table.remove(types, k)
        end
      end
      if c then
        if #types > 1 and not c.score then
          local first = redis.call('ZRANGE', READY .. t .. ':' .. c.tenant, '0', '0', 'WITHSCORES')
          c.score = tonumber(first[2] or 0)
        end
        if not best or c.v < best.v or (c.v == best.v and c.score < best.score) then
          best, rival = c, best
        elseif not rival or c.v < rival.v or (c.v == rival.v and c.score < rival.score) then
          rival = c
        end
      end
    end
    if not best then break end
    local quota = want - #ids
    if best.shared or (rival and rival.tenant ~= best.tenant) then quota = math.min(quota, TURN) end
    local line = READY .. best.type .. ':' .. best.tenant
    local popped
    if rival and rival.tenant == best.tenant then
      popped = redis.call('ZRANGEBYSCORE', line, '-inf', int(rival.score + SLACK_US),
        'LIMIT', '0', int(quota))
    else
      popped = redis.call('ZRANGE', line, '0', int(quota - 1))
    end
    if #popped > 0 then
      redis.call('ZREMRANGEBYRANK', line, '0', int(#popped - 1))
      for i = 1, #popped do ids[#ids + 1] = popped[i] end
      local v = best.v + #popped
      redis.call('HSET', VTIME, best.tenant, int(v), '', int(best.v))
      redis.call('ZADD', RING .. best.type, int(v), best.tenant)
    end
    if redis.call('EXISTS', line) == 0 then
      redis.call('ZREM', RING .. best.type, best.tenant)
    end
    heads[best.type] = nil
    for t, c in pairs(heads) do
      if c.tenant == best.tenant then heads[t] = nil end
    end
  end
  if #ids > 0 then
    local keys = {}
    for i = 1, #ids do keys[i] = TASK .. ids[i] end
    local found = redis.call('MGET', unpack(keys))
    local token = redis.call('INCR', P .. ':token')
    -- Twenty digits keep members over 64 bytes, so the lease set never is a listpack,
    -- which is searched from its start.
    local suffix, expiry = string.format(':%020d:%s', token, host), int(now + lease_ms)
    local leases, claimed, n = {}, {}, 0
    for i = 1, #ids do
      if found[i] and #ids[i] == 36 then
        n = n + 1
        claimed[n] = ids[i]
        members[n] = ids[i] .. suffix
        records[n] = found[i]
        leases[2 * n - 1] = expiry
        leases[2 * n] = members[n]
      end
    end
    if n < #ids then redis.call('HINCRBY', STATS, 'ghosts', int(#ids - n)) end
    if n > 0 then
      redis.call('ZADD', LEASES, unpack(leases))
      if redis.call('EXISTS', CANCEL) == 1 then flags = redis.call('SMISMEMBER', CANCEL, unpack(claimed)) end
    end
    -- A full claim may have left work behind: pass the wake-up on.
    if #ids >= want then
      for _, t in ipairs(types) do
        if redis.call('EXISTS', RING .. t) == 1 then wake(t) end
      end
    end
  end
end

-- How long an idle host may sleep.
local next_ms = -1
if #members < want or want == 0 then
  local first = redis.call('ZRANGE', SCHEDULED, '0', '0', 'WITHSCORES')
  if first[2] then next_ms = math.max(0, tonumber(first[2]) - now) end
  first = redis.call('ZRANGE', LEASES, '0', '0', 'WITHSCORES')
  if first[2] then
    local left = math.max(0, tonumber(first[2]) - now)
    if next_ms < 0 or left < next_ms then next_ms = left end
  end
end
return { stale, lost, cancels, members, records, flags, next_ms, reclaimed }
