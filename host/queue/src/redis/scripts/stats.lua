-- stats: how many tasks are where, and the queue's counters.
-- KEYS[1]  queue prefix
-- Returns  { scheduled, blocked, running, failed, { { type, pending, paused }... },
--            held back by their keys, when the oldest pending one was put in line (Unix ms,
--            -1 = nothing pending), counters as a flat list, config as a flat list,
--            { { tenant, bound that holds it back, until (Unix ms, -1 = until one of its
--            tasks ends) }... } at most 100 }
-- Cost     O(lines), of which at most 2,000 are looked at
local L = lib()
-- A line is as its first tasks are, which are next.
local SAMPLE, samples_left, by_class = 8, 2000, { 0, 0, 0, 0 }
local function class(priority)
  return priority < 38 and 1 or priority < 63 and 2 or priority < 88 and 3 or 4
end
local function sample(line, n)
  local ids = call('ZRANGE', line, '0', int(math.min(SAMPLE, math.max(samples_left, 1)) - 1))
  samples_left = samples_left - #ids
  local of, known, rest = { 0, 0, 0, 0 }, 0, n
  for _, id in ipairs(ids) do
    local h = L.head(id)
    if h then
      known = known + 1
      of[class(h[4])] = of[class(h[4])] + 1
    end
  end
  if known == 0 then return end
  local first
  for c = 4, 1, -1 do
    local share = math.floor(n * of[c] / known)
    by_class[c], rest = by_class[c] + share, rest - share
    if of[c] > 0 and not first then first = c end
  end
  by_class[first] = by_class[first] + rest
end
local depths = depths_of(L, sample)
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
  call('HGETALL', STATS), call('HGETALL', CONFIG), held, by_class,
}
