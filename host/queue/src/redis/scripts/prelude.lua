-- Shared by every script of a queue. KEYS[1] is the queue's prefix `{namespace:queue}`;
-- all keys below it live in one hash slot. Names have no `:`, `/` or space in them.
--
-- After its first write a script must not fail, or what it was told is lost. So what may
-- fail by somebody else's hand (a key of the wrong type) goes through `try` from then on.
--
-- Each function costs every call of every script a quarter of a microsecond; so only what
-- each call needs is here, and the rest waits in `library`.
local call, try = redis.call, redis.pcall
local byte, sub, find = string.byte, string.sub, string.find
local P = KEYS[1]
local TASK = P .. ':task:'
local READY, RING, WAKE = P .. ':ready:', P .. ':ring:', P .. ':wake:'
local SCHEDULED, LEASES = P .. ':scheduled', P .. ':leases'
local DEAD, ENDED = P .. ':dead', P .. ':ended'
local CONFIG, STATS, VTIME, LIVE = P .. ':config', P .. ':stats', P .. ':vtime', P .. ':live'
local CANCEL, WAITERS = P .. ':cancel', P .. ':waiters'
local LINKED, PROGRESS = P .. ':linked', P .. ':progress'
local RINGS = P .. ':rings'
local EXPIRY, OUTBOX = P .. ':expiry', P .. ':outbox'

-- One priority level is worth this head start, so a line is one sorted set: a task
-- waits at most (level difference x head start) for later tasks of higher priority.
local HEAD_START_US = 36 * 1000 * 1000
-- Work that comes back (given back, lease lost) goes ahead of the last minute's.
local RETURN_US = 60 * 1000 * 1000
local ENDED_MAX = '9999'
-- Later than any time: what waits for an event and not for a time.
local FAR_US = 9000000000000000
-- The first byte of a record, and of one whose head has a fifth element.
local PLAIN, BOUND = 148, 149
-- The first byte of what stands for bytes that were sent ahead, to a key `draft`: no record
-- and no entry begins so.
local AHEAD = 193
-- A record of as many bytes is long. Lua hashes every byte that it is shown, so hosts send and
-- fetch long ones beside the scripts.
local LONG = 65536

local clock = call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = math.floor(now_us / 1000)

local config = call('HMGET', CONFIG, 'paused', 'concurrency', 'limits', 'events', 'kept', 'held_types', 'bound',
  'narrow', 'long')
-- The kinds of limits that the policy has, see `limited`; how many events are kept.
local LIMITED, EVENTS = config[3], config[4]
-- Whether the queue ever had a task with bonds.
local HAS_BOUND = config[7]

-- Whether the queue ever had a long record.
local HAS_LONG = config[9]

-- Whether some hosts serve types for single tenants.
local NARROW = config[8] and tonumber(config[8]) > now

-- Numbers go to Redis as text made here: the default conversion is a slow printf.
local function int(n) return string.format('%d', n) end

-- Whether the policy has limits of one kind: q queue rate, t types, c their concurrency,
-- T tenants, n their tasks in flight, p their quotas of what is stored, u of a minute, k keys.
local function limited(kind) return LIMITED and find(LIMITED, kind, 1, true) ~= nil end

-- Hosts that serve a type for single tenants wait for markers of those tenants. Without a
-- tenant those whose turns are next are woken.
local function wake(task_type, tenant)
  local key = WAKE .. task_type
  if try('LLEN', key) == 0 then try('LPUSH', key, '1') end
  if not NARROW then return end
  for _, name in ipairs(tenant and { tenant } or try('ZRANGE', RING .. task_type, '0', '15')) do
    local own = key .. ':' .. name
    if try('LLEN', own) == 0 then
      try('LPUSH', own, '1')
      try('PEXPIRE', own, '60000')
    end
  end
end

-- Make sure that the tenant stands in its type's ring. A tenant that was away
-- starts at the ring's present time, so idleness earns no credit. One that a limit holds
-- back stays out.
local function join_ring(task_type, tenant)
  try('SADD', P .. ':types', task_type)
  if limited('T') and try('ZSCORE', P .. ':parked', tenant) then
    try('SADD', P .. ':parked:' .. tenant, task_type)
    return
  end
  local v = try('HMGET', VTIME, tenant, '')
  local at = math.max(tonumber(v[1] or 0) or 0, tonumber(v[2] or 0) or 0)
  if try('ZADD', RING .. task_type, 'NX', int(at), tenant) == 1 then
    try('SADD', RINGS, task_type)
  end
end

-- Tasks of each tenant that have not ended: changes are summed up, and written once.
local live_change = {}
-- Lanes that something happened to move on once a script has done its work, so that what it
-- puts into one lane goes in line order. The library sets this when it is needed.
local release_stirred = function() end
local function write_live()
  release_stirred()
  for tenant, n in pairs(live_change) do
    if n ~= 0 then
      local left = try('HINCRBY', LIVE, tenant, int(n))
      if type(left) == 'number' and left <= 0 then try('HDEL', LIVE, tenant) end
    end
  end
end
