-- What all ends of a task share: its unique key, lane, batch, parents, waiters and
-- dependants.

-- A completed task that others wait for is kept at least so long, until they are told.
local TELL_MS = 3600000
-- The retention of those whose record is kept longer for that, by id.
local kept_longer = {}

-- Whether nobody waits for an end, depends on one, asked for a cancellation or shows
-- progress: one look answers for all ends of this script.
local hush
local function quiet()
  if hush == nil then hush = call('EXISTS', WAITERS, LINKED, CANCEL, PROGRESS) == 0 end
  return hush
end

local function self_ref(id) return string.match(P, ':([^:]*)}$') .. '/' .. id end

-- Hand the tasks that wait for this one to the outbox. A later end has dependants of its
-- own, so these move to a key of their own.
local function tell_dependants(id, kind)
  local name = id .. ':' .. int(now_us)
  try('SREM', LINKED, id)
  try('RENAME', P .. ':kids:' .. id, P .. ':told:' .. name)
  try('ZADD', OUTBOX, int(now), 'k ' .. name .. ' ' .. kind .. ' ' .. (kept_longer[id] or '-'))
end

-- Tell waiters and dependants of ends, each of the kind c (also nil), d, x or e.
local function announce(ids, kinds)
  if #ids == 0 or quiet() then return end
  local waited = try('SMISMEMBER', WAITERS, unpack(ids))
  local linked = try('SMISMEMBER', LINKED, unpack(ids))
  for i = 1, #ids do
    if waited[i] == 1 then
      try('SREM', WAITERS, ids[i])
      try('PUBLISH', P .. ':done', ids[i])
    end
    if linked[i] == 1 then tell_dependants(ids[i], kinds[i] or 'c') end
  end
  try('SREM', CANCEL, unpack(ids))
end

-- Undo what binds a task to others, at its end.
local function unbind(id, b, kind)
  if b.expires_at then try('ZREM', EXPIRY, id) end
  if b.unique and not b.unique.window_ms then
    local key = P .. ':unique:' .. b.unique.key
    if try('GET', key) == id then try('DEL', key) end
  end
  if b.after then
    try('ZREM', P .. ':blocked', id)
    try('UNLINK', P .. ':deps:' .. id)
    try('HDEL', P .. ':starts', id)
  end
  if b.batch then
    try('ZADD', OUTBOX, int(now), 'b ' .. b.batch .. ' ' .. self_ref(id) .. ' ' .. kind)
  end
  if b.key then leave_lane(id, b.key) end
end

-- Take a task out of where it waits; false if it does not wait.
local function leave(id, h, b)
  if leave_line(id, h) or try('ZREM', SCHEDULED, id) == 1 then return true end
  if b and b.key and try('ZREM', P .. ':lane:' .. b.key, id) == 1 then
    try('HINCRBY', P .. ':laned', h[2], '-1')
    stirred[b.key] = true
    return true
  end
  return b and b.after and try('ZREM', P .. ':blocked', id) == 1
end

local END_EVENTS = { d = 'failed', x = 'cancelled', e = 'expired' }

-- End a task that waits, after it left its index: kind d (dead letter), x or e.
local function finish(id, h, b, kind, entry, ttl)
  ttl = b and b.retention_ms or ttl
  if kind == 'd' then ttl = math.max(ttl, 1000) end
  if ttl == 0 then
    call('UNLINK', TASK .. id)
  else
    try('APPEND', TASK .. id, cmsgpack.pack(entry))
    call('PEXPIRE', TASK .. id, int(ttl))
  end
  if kind == 'd' then
    try('ZADD', DEAD, int(now + ttl), id)
  elseif ttl > 0 then
    try('LPUSH', ENDED, id)
    try('LTRIM', ENDED, '0', ENDED_MAX)
  end
  count_live(h[3], -1)
  try('HINCRBY', STATS, kind, '1')
  if EVENTS then event(END_EVENTS[kind], id, h[2], h[3]) end
  announce({ id }, { kind })
  if b then unbind(id, b, kind) end
end

local function expire(id, h, b) finish(id, h, b, 'e', { X = { now } }, KEPT) end

-- Whether a task with bonds may be claimed now; if not, it goes where it belongs. Notes the
-- keys whose lanes move.
local function admit(id, record, touched)
  local h = type(record) == 'number' and head(id) or read_head(record)
  local b = bonds(h)
  if not b then return true end
  if b.expires_at and try('ZREM', EXPIRY, id) == 1 and b.expires_at <= now then
    expire(id, h, b)
    return false
  end
  if b.key then
    local let = try('SREM', P .. ':let:' .. b.key, id) == 1
    local kb = limited('k') and key_bounds(b.key)
    if kb then
      touched[b.key] = true
      -- One that was let in has its place; one that stood in line before its key had bounds
      -- takes what is left over.
      local left = lane_room(b.key)
      if left < 1 and let then
        local running = tonumber(try('SCARD', P .. ':use:' .. b.key)) or 0
        local tat = kb[2] and bucket('k:' .. b.key, kb[2], kb[3])
        local within = not kb[1] or running < kb[1]
        left = within and (not tat or tokens(tat, kb[2], kb[3]) > 0) and 1 or 0
      end
      if left < 1 then
        enter_lane(id, h, b.key, score_of(h[4], RETURN_US))
        return false
      end
      if kb[2] then spend('k:' .. b.key, bucket('k:' .. b.key, kb[2], kb[3]), kb[2], 1) end
      try('SADD', P .. ':use:' .. b.key, id)
    end
  end
  return true
end
