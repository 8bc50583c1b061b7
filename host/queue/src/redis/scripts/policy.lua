-- policy: replace the queue's policy. Tasks in flight are counted anew from the lease set.
-- KEYS[1]  queue prefix
-- ARGV     policy (MessagePack), kinds of limits (see `limited`), concurrency or empty,
--          events to keep or empty, x where `limits:x` holds the fields of `limits`, or empty
-- Returns  nothing
-- Cost     O(in flight) if the policy bounds concurrency of types or tenants
if ARGV[5] ~= '' and call('EXISTS', P .. ':limits:' .. ARGV[5]) == 0 then
  return redis.error_reply('the staged limits are gone')
end
call('SET', P .. ':policy', ARGV[1])
call('UNLINK', P .. ':limits', P .. ':running')
if ARGV[5] ~= '' then
  call('RENAME', P .. ':limits:' .. ARGV[5], P .. ':limits')
  call('PERSIST', P .. ':limits')
end
local kinds = ARGV[2]
-- Lanes of the policy before are worked off as long as there are any.
local function keep(kind, key)
  if not find(kinds, kind, 1, true) and call('EXISTS', P .. key) == 1 then kinds = kinds .. kind end
end
keep('k', ':lanes')
keep('T', ':parked')
local function put(field, value)
  if value == '' then call('HDEL', CONFIG, field) else call('HSET', CONFIG, field, value) end
end
put('limits', kinds)
put('concurrency', ARGV[3])
put('events', ARGV[4])
if ARGV[4] == '' then call('UNLINK', P .. ':events') end
if find(kinds, '[cn]') then
  local count = {}
  for _, member in ipairs(call('ZRANGE', LEASES, '0', '-1')) do
    local tail = sub(member, 59)
    count[tail] = (count[tail] or 0) + 1
  end
  for tail, n in pairs(count) do
    local tenant, task_type = string.match(tail, '^([^:]*):([^:]*):')
    if tenant then
      call('HINCRBY', P .. ':running', 't:' .. task_type, int(n))
      call('HINCRBY', P .. ':running', 'T:' .. tenant, int(n))
    end
  end
end
for _, t in ipairs(call('SMEMBERS', P .. ':types')) do
  if call('EXISTS', RING .. t) == 1 then wake(t) end
end
return 1
