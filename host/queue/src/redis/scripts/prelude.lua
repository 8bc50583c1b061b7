-- Shared by every script of a queue. KEYS[1] is the queue's prefix `{namespace:queue}`;
-- all keys below it live in one hash slot.
local P = KEYS[1]
local TASK = P .. ':task:'
local READY, RING, WAKE = P .. ':ready:', P .. ':ring:', P .. ':wake:'
local SCHEDULED, LEASES, DEAD, ENDED = P .. ':scheduled', P .. ':leases', P .. ':dead', P .. ':ended'
local CONFIG, STATS, VTIME = P .. ':config', P .. ':stats', P .. ':vtime'
local CANCEL, WAITERS = P .. ':cancel', P .. ':waiters'

-- One priority level is worth this head start, so a line is one sorted set: a task
-- waits at most (level difference x head start) for later tasks of higher priority.
local HEAD_START_US = 36 * 1000 * 1000
-- Work that comes back (given back, lease lost) goes ahead of the last minute's.
local RETURN_US = 60 * 1000 * 1000
local ENDED_MAX = '9999'

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = math.floor(now_us / 1000)

-- Numbers go to Redis as text made here: the default conversion is a slow printf.
local function int(n) return string.format('%d', n) end

-- The first MessagePack value of a record: {version, type, tenant, priority}.
-- Hostile bytes give nil.
local function head(id)
  local ok, bytes = pcall(redis.call, 'GETRANGE', TASK .. id, 0, 299)
  if not ok or bytes == '' then return nil end
  local read, _, h = pcall(cmsgpack.unpack_limit, bytes, 1)
  if not read then read, _, h = pcall(cmsgpack.unpack_one, bytes) end
  if not read or type(h) ~= 'table' then return nil end
  if type(h[2]) ~= 'string' or type(h[3]) ~= 'string' or type(h[4]) ~= 'number' then return nil end
  return h
end

local function wake(task_type)
  local key = WAKE .. task_type
  if redis.call('LLEN', key) == 0 then redis.call('LPUSH', key, '1') end
end

-- Make sure that the tenant stands in its type's ring. A tenant that was away
-- starts at the ring's present time, so idleness earns no credit.
local function join_ring(task_type, tenant)
  local v = redis.call('HMGET', VTIME, tenant, '')
  local at = math.max(tonumber(v[1] or 0), tonumber(v[2] or 0))
  redis.call('ZADD', RING .. task_type, 'NX', int(at), tenant)
  redis.call('SADD', P .. ':types', task_type)
end

local function make_ready(id, task_type, tenant, priority, bonus_us)
  local score = now_us - bonus_us - priority * HEAD_START_US
  redis.call('ZADD', READY .. task_type .. ':' .. tenant, int(score), id)
  join_ring(task_type, tenant)
  wake(task_type)
end

-- Take an id out of its line and, if that was the last, its tenant out of the ring.
local function leave_line(id, h)
  local line = READY .. h[2] .. ':' .. h[3]
  if redis.call('ZREM', line, id) == 0 then return false end
  if redis.call('EXISTS', line) == 0 then redis.call('ZREM', RING .. h[2], h[3]) end
  return true
end

-- Record the end of a task that never enters the dead letters, and wake waiters.
local function announce(ids)
  if #ids == 0 then return end
  if redis.call('EXISTS', WAITERS) == 1 then
    local waited = redis.call('SMISMEMBER', WAITERS, unpack(ids))
    for i = 1, #ids do
      if waited[i] == 1 then
        redis.call('SREM', WAITERS, ids[i])
        redis.call('PUBLISH', P .. ':done', ids[i])
      end
    end
  end
  if redis.call('EXISTS', CANCEL) == 1 then redis.call('SREM', CANCEL, unpack(ids)) end
end

-- Put an undecodable record among the dead letters, where `dead` commands see it.
local function bury(id, ttl)
  redis.call('PEXPIRE', TASK .. id, int(ttl))
  redis.call('ZADD', DEAD, int(now + ttl), id)
end
