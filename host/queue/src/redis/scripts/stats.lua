-- stats: how many tasks are where, and the queue's counters.
-- KEYS[1]  queue prefix
-- Returns  { scheduled, blocked, running, failed, { { type, pending, paused }... },
--            held back by their keys, when the oldest pending one was put in line (Unix ms,
--            -1 = nothing pending), counters as a flat list, config as a flat list,
--            { { tenant, bound that holds it back, until (Unix ms, -1 = until one of its
--            tasks ends) }... } at most 100 }
-- Cost     O(lines), of which at most 2,000 are looked at
local L = lib()
local head = L.head
local by_type, count, lines_left, oldest_us = {}, {}, 2000, FAR_US
local types = call('SMEMBERS', P .. ':types')
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
    local h = head(id)
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
local added = {}
local function add(task_type, tenant)
  local line = READY .. task_type .. ':' .. tenant
  -- One that was held back in another type may stand in this ring and be parked.
  if lines_left <= 0 or added[line] then return end
  added[line] = true
  lines_left = lines_left - 1
  local n = call('ZCARD', line)
  count[task_type] = (count[task_type] or 0) + n
  if n > 0 then sample(line, n) end
  local first = call('ZRANGE', line, '0', '0', 'WITHSCORES')
  local h = first[1] and head(first[1])
  if h then oldest_us = math.min(oldest_us, tonumber(first[2]) + h[4] * HEAD_START_US) end
end
for _, t in ipairs(types) do
  for _, tenant in ipairs(call('ZRANGE', RING .. t, '0', '999')) do add(t, tenant) end
end
for _, tenant in ipairs(call('ZRANGE', P .. ':parked', '0', '999')) do
  for _, t in ipairs(call('SMEMBERS', P .. ':parked:' .. tenant)) do add(t, tenant) end
end
local held_back, laned = 0, call('HGETALL', P .. ':laned')
for i = 1, #laned, 2 do
  held_back = held_back + tonumber(laned[i + 1])
  count[laned[i]] = (count[laned[i]] or 0) + tonumber(laned[i + 1])
end
for _, key in ipairs(call('ZRANGE', P .. ':lanes', '0', '99')) do
  local first = call('ZRANGE', P .. ':lane:' .. key, '0', '0', 'WITHSCORES')
  local h = first[1] and head(first[1])
  if h then oldest_us = math.min(oldest_us, tonumber(first[2]) + h[4] * HEAD_START_US) end
end
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
  call('ZCOUNT', DEAD, int(now), '+inf'), by_type, held_back,
  oldest_us < FAR_US and math.floor(oldest_us / 1000) or -1,
  call('HGETALL', STATS), call('HGETALL', CONFIG), held, by_class,
}
