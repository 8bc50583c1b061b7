-- document: small values of one kind by their keys, some of which go after a time.
-- KEYS[1]  {namespace:documents:kind}, the prefix of the kind's keys
-- ARGV     put, key, bytes, time to live (ms, 0 = it stays), the most documents, the most bytes,
--          what must be there: any, none, or same and then the bytes
--          get, key
--          delete, key
--          list, cursor (0 at first)
-- Returns  put: 1 stored, 0 something else is there, -1 there is no room; get: bytes or false;
--          delete: 1, or 0 if there is none; list: { next cursor (0 at the end), { key, bytes... } }
-- Cost     O(log n), a put up to 100 expired ones besides; a list O(100)
local call = redis.call
local op, key = ARGV[1], ARGV[2]
local VALUES, UNTIL, SUMS = KEYS[1] .. ':values', KEYS[1] .. ':until', KEYS[1] .. ':sums'
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(n) return string.format('%d', n) end

local function lives(name)
  local until_ms = call('ZSCORE', UNTIL, name)
  return not until_ms or tonumber(until_ms) > now
end

local function forget(name)
  call('HINCRBY', SUMS, 'bytes', int(-call('HSTRLEN', VALUES, name)))
  call('ZREM', UNTIL, name)
  return call('HDEL', VALUES, name)
end

if op == 'get' then return lives(key) and call('HGET', VALUES, key) end
if op == 'list' then
  local page = call('HSCAN', VALUES, key, 'COUNT', '100')
  local found = {}
  for i = 1, #page[2], 2 do
    if lives(page[2][i]) then
      found[#found + 1] = page[2][i]
      found[#found + 1] = page[2][i + 1]
    end
  end
  return { page[1], found }
end
for _, name in ipairs(call('ZRANGEBYSCORE', UNTIL, '-inf', int(now), 'LIMIT', '0', '100')) do
  forget(name)
end
local held = call('HGET', VALUES, key)
if held and not lives(key) then
  forget(key)
  held = false
end
if op == 'delete' then
  if not held then return 0 end
  return forget(key)
end
local bytes, ttl, expected = ARGV[3], tonumber(ARGV[4]), ARGV[7]
if (expected == 'none' and held) or (expected == 'same' and held ~= ARGV[8]) then return 0 end
local sum = tonumber(call('HGET', SUMS, 'bytes') or '0') + #bytes - (held and #held or 0)
if sum > tonumber(ARGV[6]) or (not held and call('HLEN', VALUES) >= tonumber(ARGV[5])) then
  return -1
end
if held then forget(key) end
call('HSET', VALUES, key, bytes)
call('HINCRBY', SUMS, 'bytes', int(#bytes))
if ttl > 0 then call('ZADD', UNTIL, int(now + ttl), key) end
return 1
