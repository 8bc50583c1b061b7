-- stats: how many tasks are where, and the queue's counters.
-- KEYS[1]  queue prefix
-- Returns  { pending, scheduled, running, failed, [type, pending]..., counters as a flat
--          list, config as a flat list }
-- Cost     O(lines), at most 1,000 tenants a type
local pending, by_type = 0, {}
for _, t in ipairs(redis.call('SMEMBERS', P .. ':types')) do
  local n = 0
  for _, tenant in ipairs(redis.call('ZRANGE', RING .. t, '0', '999')) do
    n = n + redis.call('ZCARD', READY .. t .. ':' .. tenant)
  end
  by_type[#by_type + 1] = { t, n }
  pending = pending + n
end
return {
  pending, redis.call('ZCARD', SCHEDULED), redis.call('ZCARD', LEASES),
  redis.call('ZCOUNT', DEAD, int(now), '+inf'), by_type,
  redis.call('HGETALL', STATS), redis.call('HGETALL', CONFIG),
}
