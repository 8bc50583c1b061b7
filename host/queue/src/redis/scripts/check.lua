-- check: hold tasks, indexes and counters against each other; repair what disagrees.
-- KEYS[1]  queue prefix
-- ARGV     what to check, 1 to repair, then the items (at most 100) and what belongs to each:
--            task: id, its lease's member as far as known, or ? to look for it
--            scheduled, blocked, dead, expiry, linked, cancel, waiters, progress, starts,
--              leases, fires: member
--            line, lane, let, use, unique, deps, kids, told, sent, members, parked: rest of the
--              key's name, and a member where the key has members (else empty)
--            ring: type, tenant
--            type: key's name, type it should have
--            running: nothing, nothing
-- Returns  per disagreement: { item (from 1), kind, task's id or empty, detail, repaired }
--          kind: stranded, dangling, duplicated, unringed, miscounted, leaked, damaged
-- Cost     O(log n) per item; a ? and `running` scan the lease set
local L = lib()
local head, bonds = L.head, L.bonds
local what, repair = ARGV[1], ARGV[2] == '1'
local found = {}
local item
local function report(kind, id, detail, mend)
  if repair and mend then mend() end
  found[#found + 1] = { item, kind, id, detail, repair and mend and 1 or 0 }
end

-- -2 unknown, -1 has not ended, else it has.
local function ttl_of(id) return call('PTTL', TASK .. id) end

local function lease_of(id)
  local cursor, member = '0', nil
  repeat
    local page = call('ZSCAN', LEASES, cursor, 'MATCH', id .. ':*', 'COUNT', '1000')
    cursor, member = page[1], member or page[2][1]
  until cursor == '0'
  return member
end

local check = {}

-- A task that has not ended is in exactly one index; one that has ended is in none.
function check.task(id, member)
  local ttl = ttl_of(id)
  if ttl == -2 then return end
  local h = head(id)
  local b = bonds(h)
  if member == '?' then member = lease_of(id) or '' end
  local places = {}
  local function at(name, key, score)
    if score then places[#places + 1] = { name, key } end
  end
  at('scheduled', SCHEDULED, try('ZSCORE', SCHEDULED, id))
  at('blocked', P .. ':blocked', try('ZSCORE', P .. ':blocked', id))
  if h then
    local line = READY .. h[2] .. ':' .. h[3]
    at('its line', line, try('ZSCORE', line, id))
  end
  if b and b.key then
    local lane = P .. ':lane:' .. b.key
    at('its lane', lane, try('ZSCORE', lane, id))
  end
  local leased = member ~= '' and call('ZSCORE', LEASES, member)
  if not h then
    if ttl == -1 and not leased and #places == 0 then
      report('damaged', id, 'the record cannot be read', function()
        for _, t in ipairs(try('SMEMBERS', P .. ':types')) do
          for _, tenant in ipairs(try('ZRANGE', RING .. t, '0', '999')) do
            try('ZREM', READY .. t .. ':' .. tenant, id)
          end
        end
        L.bury(id, L.KEPT)
      end)
    end
    return
  end
  local names = leased and 'leases' or ''
  for _, p in ipairs(places) do names = names .. (names == '' and '' or ', ') .. p[1] end
  local function leave_all(keep)
    for i, p in ipairs(places) do
      if i ~= keep then try('ZREM', p[2], id) end
    end
  end
  if ttl >= 0 then
    if #places > 0 then
      report('duplicated', id, 'it has ended and is still in ' .. names, function() leave_all() end)
    end
  elseif #places == 0 and not leased then
    report('stranded', id, 'it has not ended and is in no index', function()
      if b and b.key then
        try('SREM', P .. ':let:' .. b.key, id)
        try('SREM', P .. ':use:' .. b.key, id)
      end
      L.place(id, h, b, L.score_of(h[4], 0))
    end)
  elseif #places + (leased and 1 or 0) > 1 then
    -- The lease counts: who holds it may be about to settle. Else the last place does.
    report('duplicated', id, 'it is in ' .. names, function() leave_all(not leased and #places) end)
  elseif places[1] and places[1][1] == 'blocked' and b and b.after
    and call('EXISTS', P .. ':deps:' .. id) == 0 then
    report('stranded', id, 'it is blocked and waits for nothing', function()
      L.block(id, b, tonumber(try('HGET', P .. ':starts', id)) or 0)
    end)
  end
end

-- Members of an index of tasks that are there (and, if asked for, have not ended).
local function members(key, remove, alive, kind)
  return function(id)
    local task = sub(id, 1, 36)
    local ttl = ttl_of(task)
    if ttl == -2 or (alive and ttl >= 0) then
      report(kind or 'dangling', task, key .. ' names a task that ' ..
        (ttl == -2 and 'does not exist' or 'has ended'), function()
          try(remove, P .. ':' .. key, id)
        end)
    end
  end
end
check.scheduled = members('scheduled', 'ZREM')
check.blocked = members('blocked', 'ZREM')
check.leases = members('leases', 'ZREM', true)
check.expiry = members('expiry', 'ZREM', true, 'leaked')
check.cancel = members('cancel', 'SREM', true, 'leaked')
check.waiters = members('waiters', 'SREM', true, 'leaked')
check.progress = members('progress', 'HDEL', true, 'leaked')
function check.starts(id)
  if not try('ZSCORE', P .. ':blocked', id) then
    report('leaked', id, 'starts names a task that is not blocked', function()
      try('HDEL', P .. ':starts', id)
    end)
  end
end
function check.dead(id)
  local score, ttl = tonumber(try('ZSCORE', DEAD, id)), ttl_of(id)
  -- What is over its time is taken out with the next dead letter.
  if score and score > now + 1000 and ttl < 0 then
    report(ttl == -1 and 'duplicated' or 'dangling', id,
      'dead names a task that ' .. (ttl == -1 and 'has not ended' or 'does not exist'),
      function() try('ZREM', DEAD, id) end)
  end
end
function check.linked(id)
  if call('EXISTS', P .. ':kids:' .. id) == 0 then
    report('leaked', id, 'linked names a task that nothing waits for', function()
      try('SREM', LINKED, id)
    end)
  end
end

-- A line and its tenant's place in the ring.
function check.line(name, id)
  local task_type, tenant = string.match(name, '^([^:]*):([^:]*)$')
  if not task_type then return end
  if id == '' then
    local parked = try('ZSCORE', P .. ':parked', tenant)
      and try('SISMEMBER', P .. ':parked:' .. tenant, task_type) == 1
    if call('EXISTS', READY .. name) == 1 and not try('ZSCORE', RING .. task_type, tenant)
      and not parked then
      report('unringed', '', 'the line ' .. name .. ' is in no ring', function()
        join_ring(task_type, tenant)
        wake(task_type, tenant)
      end)
    end
    return
  end
  local function remove()
    try('ZREM', READY .. name, id)
    if call('EXISTS', READY .. name) == 0 then try('ZREM', RING .. task_type, tenant) end
  end
  if not try('ZSCORE', READY .. name, id) then return end
  if ttl_of(id) == -2 then
    report('dangling', id, 'the line ' .. name .. ' names a task that does not exist', remove)
    return
  end
  local h = head(id)
  if h and (h[2] ~= task_type or h[3] ~= tenant) then
    report('duplicated', id, 'it stands in the line ' .. name .. ', which is not its own', remove)
  end
end
function check.ring(task_type, tenant)
  local ring = RING .. task_type
  if try('ZSCORE', ring, tenant) and call('EXISTS', READY .. task_type .. ':' .. tenant) == 0 then
    report('unringed', '', 'the ring ' .. task_type .. ' names ' .. tenant .. ', who has no line',
      function() try('ZREM', ring, tenant) end)
  end
end
function check.parked(tenant)
  local lines = call('EXISTS', P .. ':parked:' .. tenant) == 1
  if lines and not try('ZSCORE', P .. ':parked', tenant) then
    report('unringed', '', 'the lines of ' .. tenant .. ' are held back by nothing', function()
      try('ZADD', P .. ':parked', '0', tenant)
      L.unpark(tenant)
    end)
  end
end

-- Lanes and what they let out.
function check.lane(key, id)
  local lane = P .. ':lane:' .. key
  if id == '' then
    if call('EXISTS', lane) == 1 and not try('ZSCORE', P .. ':lanes', key) then
      report('unringed', '', 'nobody looks at the lane ' .. key, function() L.release(key) end)
    end
  elseif try('ZSCORE', lane, id) and ttl_of(id) == -2 then
    report('dangling', id, 'the lane ' .. key .. ' names a task that does not exist', function()
      try('ZREM', lane, id)
    end)
  end
end
function check.let(key, id)
  local h = head(id)
  if try('SISMEMBER', P .. ':let:' .. key, id) == 1
    and not (h and try('ZSCORE', READY .. h[2] .. ':' .. h[3], id)) then
    report('leaked', id, 'the lane ' .. key .. ' counts it as let in, and it is in no line',
      function() L.leave_lane(id, key) end)
  end
end
function check.use(key, id)
  if try('SISMEMBER', P .. ':use:' .. key, id) == 1 and not lease_of(id) then
    report('leaked', id, 'the lane ' .. key .. ' counts it as running, and it is not',
      function() L.leave_lane(id, key) end)
  end
end

-- What belongs to a task.
function check.unique(key)
  local name = P .. ':unique:' .. key
  local id = try('GET', name)
  -- One with a window goes by itself.
  if type(id) ~= 'string' or call('PTTL', name) >= 0 then return end
  local ttl = ttl_of(id)
  if ttl ~= -1 then
    report('leaked', '', 'the unique key ' .. key .. ' belongs to a task that ' ..
      (ttl == -2 and 'does not exist' or 'has ended'), function() try('DEL', name) end)
  end
end
function check.deps(id)
  if call('EXISTS', P .. ':deps:' .. id) == 1 and not try('ZSCORE', P .. ':blocked', id) then
    report('leaked', id, 'it has parents to wait for and is not blocked', function()
      try('UNLINK', P .. ':deps:' .. id)
    end)
  end
end
-- Ask again what became of a parent, for each that waits for it.
local function ask_again(key, id)
  for _, child in ipairs(try('SRANDMEMBER', key, '1000')) do
    try('ZADD', OUTBOX, int(now), 'l ' .. L.self_ref(id) .. ' ' .. child)
    try('SREM', key, child)
  end
end
function check.kids(id)
  local key = P .. ':kids:' .. id
  if call('EXISTS', key) == 1 and (ttl_of(id) ~= -1 or try('SISMEMBER', LINKED, id) == 0) then
    report('leaked', id, 'tasks wait for it that nobody will tell', function()
      ask_again(key, id)
    end)
  end
end
function check.told(name)
  local key, cursor, there = P .. ':told:' .. name, '0', false
  if call('EXISTS', key) == 0 then return end
  repeat
    local page = call('ZSCAN', OUTBOX, cursor, 'MATCH', 'k ' .. name .. ' *', 'COUNT', '1000')
    cursor, there = page[1], there or page[2][1] ~= nil
  until cursor == '0'
  if not there then
    local id = sub(name, 1, 36)
    report('leaked', id, 'tasks wait for its end that nobody will tell', function()
      ask_again(key, id)
    end)
  end
end
-- A task for another queue that no event tells of.
function check.sent(reference)
  local key, cursor, there = P .. ':sent:' .. reference, '0', false
  local record = try('GET', key)
  if type(record) ~= 'string' then return end
  repeat
    local page = call('ZSCAN', OUTBOX, cursor, 'MATCH', 's * ' .. reference .. ' *', 'COUNT', '1000')
    cursor, there = page[1], there or page[2][1] ~= nil
  until cursor == '0'
  if not there then
    report('leaked', sub(reference, -36), 'it was submitted to another queue, and nobody carries it',
      function()
        try('ZADD', OUTBOX, int(now), string.format('s %06d %s %d', 0, reference, #record))
      end)
  end
end
-- A batch's open member that has ended, as it is kept in this queue. Which end it was, the
-- host reads from its record.
function check.members(batch, id)
  local ttl, h = ttl_of(id), head(id)
  local b = bonds(h)
  if ttl < 0 or not (b and b.batch == batch) then return end
  local event = 'b ' .. batch .. ' ' .. L.self_ref(id) .. ' '
  for _, kind in ipairs({ 'c', 'd', 'x', 'e' }) do
    if call('ZSCORE', OUTBOX, event .. kind) then return end
  end
  report('leaked', id, 'its batch has not counted its end')
end

function check.fires(name)
  if try('ZSCORE', P .. ':fires', name) and call('HEXISTS', P .. ':schedules', name) == 0 then
    report('dangling', '', 'fires names the schedule ' .. name .. ', which does not exist',
      function() try('ZREM', P .. ':fires', name) end)
  end
end
function check.schedule(name)
  local f = call('HMGET', P .. ':schedule:' .. name, 'next', 'paused')
  if f[1] and f[1] ~= '' and f[2] ~= '1' and not try('ZSCORE', P .. ':fires', name) then
    report('unringed', '', 'the schedule ' .. name .. ' is not among the fires', function()
      try('ZADD', P .. ':fires', f[1], name)
    end)
  end
end

function check.type(name, expected)
  local key = P .. ':' .. name
  local is = call('TYPE', key).ok
  if is ~= 'none' and is ~= expected then
    report('damaged', '', name .. ' is a ' .. is .. ' and should be a ' .. expected, function()
      call('RENAME', key, P .. ':damaged:' .. name .. ':' .. int(now_us))
    end)
  end
end

-- The counts of what runs, if the policy needs them.
function check.running()
  local key, count = P .. ':running', {}
  for _, member in ipairs(call('ZRANGE', LEASES, '0', '-1')) do
    local tenant, task_type = string.match(sub(member, 59), '^([^:]*):([^:]*):')
    local t, T = 't:' .. (task_type or ''), 'T:' .. (tenant or '')
    if tenant and limited('c') then count[t] = (count[t] or 0) + 1 end
    if tenant and limited('n') then count[T] = (count[T] or 0) + 1 end
  end
  local fields = {}
  for field in pairs(count) do fields[field] = true end
  for _, field in ipairs(call('HKEYS', key)) do
    local kind = sub(field, 1, 1) == 't' and 'c' or 'n'
    if limited(kind) then fields[field] = true end
  end
  for field in pairs(fields) do
    local is, should = tonumber(call('HGET', key, field)) or 0, count[field] or 0
    if is ~= should then
      report('miscounted', '', field .. ' counts ' .. int(is) .. ' running and has ' .. int(should),
        function()
          call('HDEL', key, field)
          if should > 0 then call('HSET', key, field, int(should)) end
        end)
    end
  end
end

for i = 3, #ARGV, 2 do
  item = (i - 1) / 2
  check[what](ARGV[i], ARGV[i + 1])
end
write_live()
return found
