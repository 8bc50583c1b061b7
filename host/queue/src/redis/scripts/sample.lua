-- sample: how the queue stands, kept in rings of a minute and of an hour.
-- KEYS[1]  queue prefix
-- ARGV     slots, milliseconds of a step and milliseconds to keep it; of the minutes, then of the
--          hours
-- Returns  1 if a sample was made, 0 if this minute and this hour have theirs
-- Cost     O(1), and what stats costs for the first call of a minute
local rings = {}
for i, name in ipairs({ 'minute', 'hour' }) do
  local slots, step = tonumber(ARGV[i * 3 - 2]), tonumber(ARGV[i * 3 - 1])
  local key, slot = P .. ':history:' .. name, int(math.floor(now / step) % slots)
  local held = try('HGET', key, slot)
  local at = type(held) == 'string' and tonumber(string.match(held, '^%d+')) or 0
  if math.floor(at / step) ~= math.floor(now / step) then
    rings[#rings + 1] = { key, slot, ARGV[i * 3] }
  end
end
if not rings[1] then return 0 end
local depths = depths_of(lib())
local pending = 0
for _, n in pairs(depths.count) do pending = pending + n end
local words = {
  int(now), int(pending), int(call('ZCARD', SCHEDULED)), int(call('ZCARD', P .. ':blocked')),
  int(call('ZCARD', LEASES)), int(call('ZCOUNT', DEAD, int(now), '+inf')),
  depths.oldest_ms >= 0 and int(math.max(0, now - depths.oldest_ms)) or '-1',
}
for _, total in ipairs(call('HMGET', STATS, 'submitted', 'c', 'r', 'd', 'x', 'e', 'b', 'u',
  'reclaimed', 'replayed', 'purged')) do
  words[#words + 1] = total or '0'
end
for _, ring in ipairs(rings) do
  try('HSET', ring[1], ring[2], table.concat(words, ' '))
  try('PEXPIRE', ring[1], ring[3])
end
return 1
