-- stats: how many tasks are where, and the queue's counters.
-- KEYS[1]  queue prefix
-- Returns  { scheduled, blocked, running, failed, { { type, pending, paused }... },
--            held back by their keys, when the oldest pending one was put in line (Unix ms,
--            -1 = nothing pending), counters as a flat list, config as a flat list,
--            { { tenant, bound that holds it back, until (Unix ms, -1 = until one of its
--            tasks ends) }... } at most 100 }
-- Cost     O(lines), of which at most 2,000 are looked at
local L = lib()
local depths = depths_of(L)
local types, count, by_type = depths.types, depths.count, {}
local seen = {}
for _, t in ipairs(types) do
  seen[t] = true
  by_type[#by_type + 1] = { t, count[t] or 0, call('SISMEMBER', P .. ':paused', t) }
end
for _, t in ipairs(call('SMEMBERS', P .. ':paused')) do
  if not seen[t] then
    seen[t] = true
    by_type[#by_type + 1] = { t, count[t] or 0, 1 }
  end
end
-- All tasks of a type may have waited in lanes ever since.
for t, n in pairs(count) do
  if not seen[t] then by_type[#by_type + 1] = { t, n, 0 } end
end
local held = {}
for _, tenant in ipairs(call('ZRANGE', P .. ':parked', '0', '99')) do
  local why, until_us = L.held_by(tenant)
  if why then
    held[#held + 1] = { tenant, why, until_us < FAR_US and math.ceil(until_us / 1000) or -1 }
  end
end
return {
  call('ZCARD', SCHEDULED), call('ZCARD', P .. ':blocked'), call('ZCARD', LEASES),
  call('ZCOUNT', DEAD, int(now), '+inf'), by_type, depths.held_back,
  depths.oldest_ms,
  call('HGETALL', STATS), call('HGETALL', CONFIG), held,
}
