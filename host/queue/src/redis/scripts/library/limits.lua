-- Bounds of the policy: rates, tenants held back, the lanes of limited keys. Only looked
-- at where the configuration says that the policy has such limits.

-- Tasks that this script may let out of lanes; the rest follow at once by timer.
local let_in_left = 200

local known_bounds = {}
-- What the policy says under one field, an array made by the host; nil if nothing.
local function bounds(field)
  local got = known_bounds[field]
  if got == nil then
    local raw = try('HGET', P .. ':limits', field)
    local read, value = false, nil
    if type(raw) == 'string' then read, value = pcall(cmsgpack.unpack, raw) end
    got = read and type(value) == 'table' and value or false
    known_bounds[field] = got
  end
  return got or nil
end

-- {concurrency, interval_us, burst} of a key: the exact entry, else the longest prefix.
local function key_bounds(key)
  local exact = bounds('k:' .. key)
  if exact then return exact end
  for _, p in ipairs(bounds('kp') or {}) do
    if sub(key, 1, #p[1]) == p[1] then return { p[2], p[3], p[4] } end
  end
  return nil
end

-- {weight, in_flight, interval_us, burst, pending, payload_bytes, fuel and KiB·ms a minute,
-- whether new tasks are refused while these are spent} of a tenant.
local function tenant_bounds(tenant) return bounds('T:' .. tenant) or bounds('T:*') end

-- A bucket is the time at which it will be full again, as in bulkhead_core::Rate. One that
-- an earlier, slower rate left behind counts as empty now.
local function bucket(name, interval, burst)
  local tat = tonumber(try('GET', P .. ':rate:' .. name)) or 0
  return math.min(tat, now_us + interval * burst)
end
local function tokens(tat, interval, burst)
  local missing = math.max(0, tat - now_us)
  return math.floor(math.max(0, interval * burst - missing) / interval)
end
local function ready_at(tat, interval, burst, count)
  return tat - interval * math.max(0, burst - count)
end
local function spend(name, tat, interval, count)
  tat = math.max(tat, now_us) + interval * count
  try('SET', P .. ':rate:' .. name, int(tat), 'PX', int(math.ceil((tat - now_us) / 1000) + 1))
end

-- What a bound leaves to this script.
local function allowance(name, concurrency, interval, burst)
  local a = {
    name = name, slots = math.huge, tokens = math.huge, taken = 0, interval = interval, burst = burst,
  }
  if concurrency then
    a.slots = concurrency - (tonumber(try('HGET', P .. ':running', name)) or 0)
  end
  if interval then
    a.tat = bucket(name, interval, burst)
    a.tokens = tokens(a.tat, interval, burst)
  end
  return a
end
local function room(a) return a.spent and 0 or math.min(a.slots, a.tokens) end
local function use(a, n) a.slots, a.tokens, a.taken = a.slots - n, a.tokens - n, a.taken + n end
-- When a bound that leaves nothing will leave something; FAR_US if a settlement decides.
local function frees_at(a)
  if a.slots <= 0 then return FAR_US end
  if a.spent then return a.spent end
  if not a.interval then return FAR_US end
  return math.max(a.tat, now_us) + a.interval * (a.taken - (a.burst - 1))
end

-- Quotas of a minute, as in bulkhead_core::MinuteBucket: a bucket is the time in µs at which
-- it is full, and the quota it is of.
local USAGE, MINUTE_US = { f = 7, m = 8 }, 60000000
local function usage_tat(kind, tenant, quota)
  local raw = try('GET', P .. ':rate:' .. kind .. ':' .. tenant)
  local tat, of = string.match(type(raw) == 'string' and raw or '', '^(%d+):(%d+)$')
  return tonumber(of) == quota and tonumber(tat) or 0
end
-- When there is something left of a tenant's quotas again, and which of them says so; nil if
-- there is now.
local function spent_until(tenant, b)
  local at, which
  for kind, place in pairs(USAGE) do
    local ready = b[place] and usage_tat(kind, tenant, b[place]) + 1 - MINUTE_US or 0
    if ready > math.max(now_us, at or 0) or ready == at and kind == 'f' then
      at, which = ready, kind
    end
  end
  return at, which
end
-- Take what a tenant's attempts used from its quotas.
local function take_usage(tenant, used)
  local b = tenant_bounds(tenant) or {}
  for kind, place in pairs(USAGE) do
    local quota, n = b[place], used[kind]
    if quota and n > 0 then
      local tat = math.max(usage_tat(kind, tenant, quota), now_us)
        + math.ceil(n * MINUTE_US / quota)
      tat = math.min(tat, now_us + 2251799813685248)
      try('SET', P .. ':rate:' .. kind .. ':' .. tenant, int(tat) .. ':' .. int(quota),
        'PX', int(math.ceil((tat - now_us) / 1000) + 1))
    end
  end
end

-- What a tenant's bounds leave, and how far a claim moves its virtual time.
local function tenant_allowance(name)
  local b = tenant_bounds(name) or {}
  local a = allowance('T:' .. name, b[2], b[3], b[4])
  a.stride = math.floor(100000 / math.max(1, b[1] or 10))
  if limited('u') then a.spent, a.spent_of = spent_until(name, b) end
  return a
end

-- By which bound a tenant is held back, and until when in µs (FAR_US: a settlement decides).
local function held_by(tenant)
  local a = tenant_allowance(tenant)
  if room(a) > 0 then return nil end
  local why = a.slots <= 0 and 'in_flight' or a.spent and a.spent_of or 'rate'
  return why, frees_at(a)
end

-- Take a tenant's line out of the ring until a time, or until one of its tasks is settled.
local function park(tenant, task_type, until_us)
  try('ZREM', RING .. task_type, tenant)
  try('SADD', P .. ':parked:' .. tenant, task_type)
  try('ZADD', P .. ':parked', int(until_us), tenant)
  ringed = {}
end
local function unpark(tenant)
  if try('ZREM', P .. ':parked', tenant) ~= 1 then return end
  for _, t in ipairs(try('SMEMBERS', P .. ':parked:' .. tenant)) do
    if call('EXISTS', READY .. t .. ':' .. tenant) == 1 then
      join_ring(t, tenant)
      wake(t, tenant)
    end
  end
  try('UNLINK', P .. ':parked:' .. tenant)
end

-- A key's lane: `lane:<key>` waits, `let:<key>` stands in line, `use:<key>` runs.
-- How many more the lane may let in, and when to look again if that is none.
local function lane_room(key)
  local b = key_bounds(key)
  if not b then return math.huge, FAR_US, false end
  local inside = tonumber(try('SCARD', P .. ':let:' .. key)) or 0
  local left, at = math.huge, FAR_US
  if b[1] then left = b[1] - inside - (tonumber(try('SCARD', P .. ':use:' .. key)) or 0) end
  if b[2] then
    local tat = bucket('k:' .. key, b[2], b[3])
    local free = tokens(tat, b[2], b[3]) - inside
    if free < left then
      left = free
      local next = inside + math.max(0, free) + 1
      if next <= b[3] then at = ready_at(tat, b[2], b[3], next) end
    end
  end
  return left, at, true
end

-- Let as many into their lines as the key's bounds leave, and say when to look again.
local function release(key)
  local lane = P .. ':lane:' .. key
  local waiting = tonumber(try('ZCARD', lane)) or 0
  if waiting == 0 then
    try('ZREM', P .. ':lanes', key)
    return
  end
  local left, at, bounded = lane_room(key)
  if left > let_in_left then left, at = let_in_left, now_us end
  if left > 0 then
    local first = try('ZRANGE', lane, '0', int(math.min(left, waiting) - 1), 'WITHSCORES')
    for i = 1, #first, 2 do
      local id = first[i]
      local h = head(id)
      try('ZREM', lane, id)
      waiting = waiting - 1
      let_in_left = let_in_left - 1
      if h then
        try('HINCRBY', P .. ':laned', h[2], '-1')
        if bounded then try('SADD', P .. ':let:' .. key, id) end
        line_up(id, h[2], h[3], tonumber(first[i + 1]))
      else
        bury(id, KEPT)
      end
    end
  end
  if waiting > 0 then
    try('ZADD', P .. ':lanes', int(at), key)
  else
    try('ZREM', P .. ':lanes', key)
  end
end

local function enter_lane(id, h, key, score)
  if try('ZADD', P .. ':lane:' .. key, int(score), id) == 1 then
    try('HINCRBY', P .. ':laned', h[2], '1')
  end
end

-- The keys whose lanes are to move on.
local stirred = {}
release_stirred = function()
  local key = next(stirred)
  while key do
    stirred[key] = nil
    release(key)
    key = next(stirred)
  end
end

-- A task of this key no longer stands in line or runs. One that did neither makes no room.
local function leave_lane(id, key)
  local let = try('SREM', P .. ':let:' .. key, id)
  local use = try('SREM', P .. ':use:' .. key, id)
  if let == 1 or use == 1 then stirred[key] = true end
end

-- Put a task in line or, if its key is limited, into its key's lane.
local function place(id, h, b, score)
  if b and b.key and limited('k') and key_bounds(b.key) then
    enter_lane(id, h, b.key, score)
    stirred[b.key] = true
  else
    line_up(id, h[2], h[3], score)
  end
end

-- A task whose claim came to nothing goes back, ahead of what has waited meanwhile.
local function come_back(id, h, b)
  if b and b.key then
    try('SREM', P .. ':let:' .. b.key, id)
    try('SREM', P .. ':use:' .. b.key, id)
  end
  place(id, h, b, score_of(h[4], RETURN_US))
end
