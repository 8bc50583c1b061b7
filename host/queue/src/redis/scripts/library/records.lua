-- The library: what only tasks with bonds, limits or rare edges need. It is one function,
-- from here to the end of `store.lua`, which makes all others when it is called first.
local function library()

-- Bytes of a head that binds a task to 1,000 parents in queues of the longest names.
local HEAD_BYTES_MAX = '262143'
-- How long a task is kept that ends without its host, in ms.
local KEPT = tonumber(config[5]) or 604800000

-- A whole number within bounds, or nil: records are written by others.
local function whole(n, least, most)
  if type(n) ~= 'number' or n ~= n then return nil end
  return math.max(least, math.min(most, math.floor(n)))
end

-- The first MessagePack value of a record: {version, type, tenant, priority, bonds}.
-- Hostile bytes give nil.
local function read_head(bytes)
  local read, _, h = pcall(cmsgpack.unpack_one, bytes)
  if not read or type(h) ~= 'table' or not whole(h[4], 0, 100) then return nil end
  if type(h[2]) ~= 'string' or type(h[3]) ~= 'string' then return nil end
  if find(h[2], '[^%w._-]') or find(h[3], '[^%w._-]') then return nil end
  h[4] = whole(h[4], 0, 100)
  return h
end

local function head_at(key)
  local bytes = try('GETRANGE', key, '0', '299')
  if type(bytes) ~= 'string' or bytes == '' then return nil end
  local h = read_head(bytes)
  if not h and byte(bytes) == BOUND and #bytes == 300 then
    h = read_head(call('GETRANGE', key, '0', HEAD_BYTES_MAX))
  end
  return h
end

local function head(id) return head_at(TASK .. id) end

-- The key of what was sent ahead, by what stands for it and the name of the key it is for.
local function draft_of(id, stand_in) return P .. ':draft:' .. id .. ':' .. sub(stand_in, 2) end

-- Whether a draft is whole. It begins with the copy of a record; one that was lost on the way
-- and went on being written begins with zeros.
local function is_whole(draft)
  local first = try('GETRANGE', draft, '0', '0')
  return type(first) == 'string' and first ~= '' and first ~= '\0'
end

-- Put a copy of a record and what was sent behind it in the record's place, if that still is
-- as long as it was; else only what was sent behind it.
local function take_draft(key, draft, base)
  if try('STRLEN', key) == base then
    try('RENAME', draft, key)
    try('PERSIST', key)
  else
    local sent = try('GETRANGE', draft, int(base), '-1')
    if type(sent) == 'string' then try('APPEND', key, sent) end
    try('UNLINK', draft)
  end
end

-- A record came to so many bytes: from the first long one on, lengths are looked at.
local function grown_to(length)
  if not HAS_LONG and type(length) == 'number' and length >= LONG then
    HAS_LONG = '1'
    try('HSET', CONFIG, 'long', '1')
  end
end

local function is_key(k) return type(k) == 'string' and k ~= '' and #k <= 256 end

-- The terms that bind a task to others, checked; nil if it has none.
local function bonds(h)
  local b = h and h[5]
  if type(b) ~= 'table' then return nil end
  if not is_key(b.key) then b.key = nil end
  b.expires_at = whole(b.expires_at, 0, 281474976710656)
  b.retention_ms = whole(b.retention_ms, 0, 281474976710656)
  local u = b.unique
  if type(u) == 'table' and is_key(u.key) then
    u.window_ms = whole(u.window_ms, 1, 281474976710656)
  else
    b.unique = nil
  end
  if type(b.batch) ~= 'string' or not find(b.batch, '^[%w._-]+/[%x-]+$') then b.batch = nil end
  if type(b.after) ~= 'table' or #b.after == 0 then b.after = nil end
  return b
end

local function count_live(tenant, n) live_change[tenant] = (live_change[tenant] or 0) + n end
local function live(tenant)
  return (tonumber(try('HGET', LIVE, tenant)) or 0) + (live_change[tenant] or 0)
end

-- Rows of usage a day: for tenants, plugins and types; over them one for each tenant, up to
-- these; over them one for all.
local USAGE_ROWS, USAGE_TENANTS = 100000, 10000
-- A day's row, `tenant:plugin:type`, that was just begun: where its sums go.
local function open_usage_row(day, row, attempts)
  try('EXPIRE', day, '34646400')
  local rows = tonumber(try('HINCRBY', day, 'rows', '1')) or 0
  if rows <= USAGE_ROWS then return row end
  try('HDEL', day, row .. ':a')
  local other = string.match(row, '^[^:]*') .. ':*:*'
  local is_known = call('HEXISTS', day, other .. ':a') == 1
  if not is_known and rows > USAGE_ROWS + USAGE_TENANTS then other = '*:*:*' end
  if is_known or other == '*:*:*' then try('HINCRBY', day, 'rows', '-1') end
  try('HINCRBY', day, other .. ':a', attempts)
  return other
end

local function event(kind, id, task_type, tenant)
  try('XADD', P .. ':events', 'MAXLEN', EVENTS, '*',
    'k', kind, 'i', id, 'y', task_type, 'o', tenant)
end

local function score_of(level, bonus_us) return now_us - bonus_us - level * HEAD_START_US end

-- Lines that were made sure of by this script already.
local ringed = {}
local function line_up(id, task_type, tenant, score)
  local line = READY .. task_type .. ':' .. tenant
  try('ZADD', line, int(score), id)
  if not ringed[line] then
    ringed[line] = true
    join_ring(task_type, tenant)
    wake(task_type, tenant)
  end
end

-- Take an id out of its line and, if that was the last, its tenant out of the ring.
local function leave_line(id, h)
  local line = READY .. h[2] .. ':' .. h[3]
  if try('ZREM', line, id) ~= 1 then return false end
  if call('EXISTS', line) == 0 then
    try('ZREM', RING .. h[2], h[3])
    ringed[line] = nil
  end
  return true
end

-- Put an undecodable record among the dead letters, where `dead` commands see it.
local function bury(id, ttl)
  if call('PEXPIRE', TASK .. id, int(ttl)) == 1 then try('ZADD', DEAD, int(now + ttl), id) end
end
