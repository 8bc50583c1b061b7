-- Store one task with all that its terms ask for, and give one fresh attempts.

-- Cancel the holder of a unique key that has not started, so that another takes its place.
local function make_way(holder, id)
  local h = head(holder)
  if not h then return false end
  local b = bonds(h)
  if not leave(holder, h, b) then return false end
  finish(holder, h, b, 'x', { C = { now, { r = id } } }, KEPT)
  return true
end

-- Who holds a unique key, and whether that task has ended (within its window). A task that
-- was forgotten before its window passed holds nothing, nor does a later one of its id.
local function holder_of(key)
  local name = P .. ':unique:' .. key
  local holder = try('GET', name)
  if type(holder) ~= 'string' then return nil end
  local ttl = call('PTTL', TASK .. holder)
  local ended = ttl >= 0
  if ttl == -2 or (ended and call('PTTL', name) < 0) then return nil end
  local h = head(holder)
  local b = bonds(h)
  if h and not (b and b.unique and b.unique.key == key) then return nil end
  return holder, ended
end

-- What stands in the way of a new task under a unique key: { 2 taken | 3 existing, holder };
-- else nothing, and the holder that made way, if one did.
local function contend(u, id)
  local holder, ended = holder_of(u.key)
  if not holder then return nil end
  if u.conflict == 'replace' and not ended and make_way(holder, id) then return nil, holder end
  if u.conflict == 'replace' or u.conflict == 'existing' then return { 3, holder } end
  return { 2, holder }
end

-- Block a task until its parents have ended: each parent is asked through the outbox.
local function block(id, b, due)
  local deps, links, seen = {}, {}, {}
  for i = 1, math.min(#b.after, 1000) do
    local parent = b.after[i]
    if type(parent) == 'string' and not seen[parent] and find(parent, '^[%w._-]+/[%x-]+$') then
      seen[parent] = true
      deps[#deps + 1] = parent
      links[#links + 1] = int(now)
      links[#links + 1] = 'l ' .. parent .. ' ' .. self_ref(id)
    end
  end
  if #deps == 0 then return false end
  try('DEL', P .. ':deps:' .. id)
  try('SADD', P .. ':deps:' .. id, unpack(deps))
  try('ZADD', P .. ':blocked', int(now), id)
  try('ZADD', OUTBOX, unpack(links))
  if due > now then try('HSET', P .. ':starts', id, int(due)) end
  return true
end

-- Put a task behind its time, and wake a host if none would look so soon.
local first_due
local function schedule(id, task_type, tenant, due)
  if first_due == nil then
    local first = call('ZRANGE', SCHEDULED, '0', '0', 'WITHSCORES')
    first_due = tonumber(first[2]) or math.huge
  end
  try('ZADD', SCHEDULED, int(due), id)
  if due < first_due then
    first_due = due
    wake(task_type, tenant)
  end
end

-- Returns 1 accepted, 0 known, { 2 taken | 3 existing | 4 replaced, holder },
-- 5 over the tenant's pending quota, 6 over its payload quota, { 7, Unix ms } its minute's
-- quota is spent until then, 8 what was sent ahead is not there.
-- `offset` keeps tasks of one call in order.
local function store_new(id, record, task_type, tenant, level, due, offset, exempt)
  if call('EXISTS', TASK .. id) == 1 then return 0 end
  local draft, length, h5 = nil, #record, nil
  if byte(record) == AHEAD then
    draft = draft_of(id, record)
    length = tonumber(try('STRLEN', draft)) or 0
    if length == 0 then return 8 end
    h5 = head_at(draft)
  elseif byte(record) == BOUND then
    h5 = read_head(record)
  end
  if limited('p') and not exempt then
    local quota = tenant_bounds(tenant)
    if quota and quota[6] and length > quota[6] then return 6 end
    if quota and quota[5] and live(tenant) >= quota[5] then return 5 end
    if quota and quota[9] then
      local at = spent_until(tenant, quota)
      if at then return { 7, int(math.ceil(at / 1000)) } end
    end
  end
  local h = { 1, task_type, tenant, level }
  local b = bonds(h5)
  local answer = 1
  if b and b.unique then
    local refused, replaced = contend(b.unique, id)
    if refused then return refused end
    if replaced then answer = { 4, replaced } end
  end
  if draft then
    call('RENAME', draft, TASK .. id)
    try('PERSIST', TASK .. id)
  else
    call('SET', TASK .. id, record)
  end
  grown_to(length)
  try('HINCRBY', STATS, 'submitted', '1')
  count_live(tenant, 1)
  if EVENTS then event('submitted', id, task_type, tenant) end
  if b and not HAS_BOUND then
    HAS_BOUND = true
    try('HSET', CONFIG, 'bound', '1')
  end
  if b and b.unique then
    local name = P .. ':unique:' .. b.unique.key
    if b.unique.window_ms then
      call('SET', name, id, 'PX', int(b.unique.window_ms))
    else
      call('SET', name, id)
    end
  end
  if b and b.expires_at then
    if b.expires_at <= now then
      expire(id, h, b)
      return answer
    end
    try('ZADD', EXPIRY, int(b.expires_at), id)
  end
  if b and b.after and block(id, b, due) then return answer end
  if due > now then
    schedule(id, task_type, tenant, due)
  else
    place(id, h, b, score_of(level, 0) + offset)
  end
  return answer
end

-- [`store_new`], after which nothing is left of what was sent ahead.
local function store(id, record, ...)
  local answer = store_new(id, record, ...)
  if byte(record) == AHEAD then try('UNLINK', draft_of(id, record)) end
  return answer
end

-- Whether all records are there of so many tasks that stand among the arguments from one on,
-- as `submit` takes them.
local function are_there(from, count)
  for i = from, from + 6 * (count - 1), 6 do
    local record = ARGV[i + 1]
    if byte(record) == AHEAD and call('EXISTS', draft_of(ARGV[i], record)) == 0 then
      return false
    end
  end
  return true
end

-- Store so many tasks that stand among the arguments from one on, as `submit` takes them,
-- whatever their tenants' quotas say.
local function store_given(from, count, offset)
  for i = from, from + 6 * (count - 1), 6 do
    store(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4]),
      tonumber(ARGV[i + 5]), offset + (i - from) / 6, true)
  end
end

-- Give an ended task a fresh set of attempts, or start a waiting one now.
-- Returns 1 put in line, 0 pending or running already, -1 unknown.
local function revive(id)
  local h = head(id)
  if not h then return -1 end
  local b = bonds(h)
  local key = TASK .. id
  if call('PTTL', key) >= 0 then
    call('PERSIST', key)
    try('APPEND', key, cmsgpack.pack({ R = { now } }))
    try('ZREM', DEAD, id)
    try('HINCRBY', STATS, 'replayed', '1')
    count_live(h[3], 1)
    if b and b.unique then
      -- The key is taken again if nobody has it; what is left of a window has passed.
      local holder = holder_of(b.unique.key)
      if not holder then
        local name = P .. ':unique:' .. b.unique.key
        if b.unique.window_ms then
          try('SET', name, id, 'PX', int(b.unique.window_ms))
        else
          try('SET', name, id)
        end
      end
    end
  elseif try('ZREM', SCHEDULED, id) == 1
    or (b and b.after and try('ZREM', P .. ':blocked', id) == 1) then
    if b and b.after then
      try('UNLINK', P .. ':deps:' .. id)
      try('HDEL', P .. ':starts', id)
    end
  else
    return 0
  end
  if b and b.expires_at then try('ZREM', EXPIRY, id) end
  place(id, h, b, score_of(h[4], 0))
  if EVENTS then event('rerun', id, h[2], h[3]) end
  return 1
end

return {
  KEPT = KEPT, TELL_MS = TELL_MS, kept_longer = kept_longer,
  head = head, read_head = read_head, grown_to = grown_to, draft_of = draft_of,
  is_whole = is_whole, take_draft = take_draft, are_there = are_there, bonds = bonds, count_live = count_live, event = event,
  bury = bury, line_up = line_up, leave_line = leave_line, score_of = score_of,
  bounds = bounds, key_bounds = key_bounds, tenant_bounds = tenant_bounds, bucket = bucket,
  tokens = tokens, spend = spend, allowance = allowance, tenant_allowance = tenant_allowance,
  usage_tat = usage_tat, take_usage = take_usage, held_by = held_by, open_usage_row = open_usage_row,
  room = room, use = use, frees_at = frees_at, park = park, unpark = unpark,
  lane_room = lane_room, release = release,
  enter_lane = enter_lane, leave_lane = leave_lane, place = place, come_back = come_back,
  quiet = quiet, tell_dependants = tell_dependants, self_ref = self_ref, block = block,
  announce = announce, unbind = unbind, leave = leave, admit = admit,
  finish = finish, expire = expire,  schedule = schedule, store = store, revive = revive,
  store_given = store_given,
  forget_rings = function() ringed = {} end,
  let_in_left = function() return let_in_left end,
  let_nobody_in = function() let_in_left = 0 end,
}
end

local made
local function lib()
  made = made or library()
  return made
end
