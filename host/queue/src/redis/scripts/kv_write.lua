-- kv_write: change one key within its quotas. What it reads it reads before it writes, so that
-- a key of the wrong type stops it before anything was changed.
-- KEYS[1]  tenant's prefix
-- ARGV     plugin, key, what: set, swap, add or delete
--          time to live (ms, or empty: a stored value stays, a sum stays as long as it did)
--          quotas: keys and bytes of the plugin, bytes of the tenant (empty: no such bound)
--          expired values to sweep: at once, and besides if there is no room
--          value (add: what is added), swap: the expected version (empty: no such key)
-- Returns  `stored` and the version; `sum` and the sum; `deleted` and 1 or 0; or, with nothing
--          stored, `unmatched`, `number` (what is there is none), `range` (the sum is beyond 64
--          bits), `over` and `keys`, `total` or `storage`
-- Cost     O(log n), and O(log n) each value swept
local key, what, ttl = ARGV[2], ARGV[3], ARGV[4]
local most_keys, total, storage = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local values = VALUES .. plugin

local function count(of, bytes)
  if bytes ~= 0 then
    call('HINCRBY', BYTES, of, int(bytes))
    call('HINCRBY', BYTES, '', int(bytes))
  end
end

local function forget(of, name)
  local bytes = #name + call('HSTRLEN', VALUES .. of, name)
  call('ZREM', EXPIRY, of .. '/' .. name)
  if call('ZREM', NAMES .. of, name) == 1 then count(of, -bytes) end
  call('HDEL', VALUES .. of, name)
  call('HDEL', VERSIONS .. of, name)
end

local function sweep(at_most)
  local gone = call('ZRANGEBYSCORE', EXPIRY, '-inf', int(now), 'LIMIT', '0', at_most)
  for i = 1, #gone do
    local slash = string.find(gone[i], '/', 1, true)
    forget(string.sub(gone[i], 1, slash - 1), string.sub(gone[i], slash + 1))
  end
end

-- Look at everything that is written further down.
call('HGET', VERSIONS .. plugin, key)
call('HGET', NEWEST, plugin)
call('HGET', BYTES, plugin)
call('ZCARD', NAMES .. plugin)
call('HSTRLEN', values, key)

sweep(ARGV[8])
local at = ends(key)
if at and at <= now then
  forget(plugin, key)
  at = false
end
local version = call('HGET', VERSIONS .. plugin, key)

if what == 'delete' then
  if version then forget(plugin, key) end
  return { 'deleted', version and '1' or '0' }
end
if what == 'swap' and ARGV[11] ~= (version or '') then return { 'unmatched' } end

local before = version and #key + call('HSTRLEN', values, key) or 0
local value, number = ARGV[10], false
if what == 'add' then
  number = call('HGET', values, key)
  local sum = redis.pcall('HINCRBY', values, key, value)
  if type(sum) == 'table' then
    if string.find(sum.err, 'overflow', 1, true) then return { 'range' } end
    if string.find(sum.err, 'not an integer', 1, true) then return { 'number' } end
    return sum
  end
  -- As text: a sum over 2^53 is no number of Lua's.
  value = call('HGET', values, key)
end
local grown = #key + #value - before

local function over()
  if not version and call('ZCARD', NAMES .. plugin) >= most_keys then return 'keys' end
  if grown <= 0 then return false end
  local used = call('HMGET', BYTES, plugin, '')
  if tonumber(used[1] or 0) + grown > total then return 'total' end
  if storage and tonumber(used[2] or 0) + grown > storage then return 'storage' end
  return false
end

if over() then sweep(ARGV[9]) end
local bound = over()
if bound then
  if number then
    call('HSET', values, key, number)
  elseif what == 'add' then
    call('HDEL', values, key)
  end
  return { 'over', bound }
end

local newest = int(call('HINCRBY', NEWEST, plugin, '1'))
if what ~= 'add' then call('HSET', values, key, value) end
call('HSET', VERSIONS .. plugin, key, newest)
if not version then call('ZADD', NAMES .. plugin, '0', key) end
count(plugin, grown)
if ttl ~= '' then
  call('ZADD', EXPIRY, int(now + tonumber(ttl)), plugin .. '/' .. key)
elseif at and what ~= 'add' then
  call('ZREM', EXPIRY, plugin .. '/' .. key)
end
if what == 'add' then return { 'sum', value } end
return { 'stored', newest }
