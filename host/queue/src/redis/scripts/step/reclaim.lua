-- Reclaim leases that ran out: the attempt is recorded as lost and the task goes back.
-- What somebody else's hand put into a line may be no id: of another length it is a ghost
-- when it is claimed, of this length it is buried here.
local reclaimed = 0
if ARGV[4] ~= '0' then
  local x = '%x%x%x%x'
  local UUID = '^' .. x .. x .. '%-' .. x .. '%-' .. x .. '%-' .. x .. '%-' .. x .. x .. x .. '$'
  local expired = call('ZRANGEBYSCORE', LEASES, '-inf', int(now), 'LIMIT', '0', ARGV[4])
  for i = 1, #expired do
    local member = expired[i]
    local id = sub(member, 1, 36)
    local L, tail = lib(), sub(member, 59)
    local h = L.head(id)
    left[tail] = (left[tail] or 0) + 1
    call('ZREM', LEASES, member)
    if h and find(id, UUID) then
      alive[tail] = (alive[tail] or 0) + 1
      local b = L.bonds(h)
      local holder = string.match(tail, '^[^:]*:[^:]*:(.*)$') or ''
      try('APPEND', TASK .. id, cmsgpack.pack({ L = { now, holder } }))
      L.come_back(id, h, b)
      if EVENTS then L.event('lease_lost', id, h[2], h[3]) end
    else
      L.bury(id, dead_ttl)
    end
    if not quiet then try('HDEL', PROGRESS, id) end
    reclaimed = reclaimed + 1
  end
  if reclaimed > 0 then try('HINCRBY', STATS, 'reclaimed', int(reclaimed)) end
  if reclaimed == tonumber(ARGV[4]) then again = true end
end

-- What has left the lease set makes room: in the counts, for its tenant, and for hosts that
-- found a limit reached.
for tail, n in pairs(left) do
  local tenant, task_type = string.match(tail, '^([^:]*):([^:]*):')
  local ended = n - (alive[tail] or 0)
  if tenant and ended > 0 then live_change[tenant] = (live_change[tenant] or 0) - ended end
  if tenant and LIMITED then
    for flag, field in pairs({ c = 't:' .. task_type, n = 'T:' .. tenant }) do
      if limited(flag) then
        local running = try('HINCRBY', P .. ':running', field, int(-n))
        if type(running) == 'number' and running <= 0 then try('HDEL', P .. ':running', field) end
      end
    end
    local parked = limited('T') and tonumber(try('ZSCORE', P .. ':parked', tenant))
    if parked and parked >= FAR_US then lib().unpark(tenant) end
  end
  if tenant and (LIMITED or config[2]) and want == 0 and call('EXISTS', RING .. task_type) == 1 then
    wake(task_type)
  end
end
