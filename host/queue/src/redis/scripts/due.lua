-- due: the schedules whose next fire has come, and all schedules.
-- KEYS[1]  queue prefix
-- ARGV     limit, or empty for all schedules, due or not (at most 10,000)
-- Returns  { now (Unix ms), { name, definition, state as a flat list }...,
--            the next fire of the others or -1 }
-- Cost     O(limit + log n)
local names
if ARGV[1] == '' then
  names = call('HKEYS', P .. ':schedules')
else
  names = call('ZRANGEBYSCORE', P .. ':fires', '-inf', int(now), 'LIMIT', '0', ARGV[1])
end
local found = {}
for i = 1, math.min(#names, 10000) do
  found[i] = {
    names[i], call('HGET', P .. ':schedules', names[i]) or '',
    call('HGETALL', P .. ':schedule:' .. names[i]),
  }
end
local first
if ARGV[1] == '' then
  first = {}
else
  -- Those that are due and went over the limit are among the others.
  first = call('ZRANGE', P .. ':fires', int(#names), int(#names), 'WITHSCORES')
end
return { now, found, first[2] and tonumber(first[2]) or -1 }
