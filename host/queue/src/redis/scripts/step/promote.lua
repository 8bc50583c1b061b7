-- Promote what is due, let go what a rate held back, end what was not started in time.
do
  local due = call('ZRANGEBYSCORE', SCHEDULED, '-inf', int(now), 'LIMIT', '0', ARGV[5])
  for i = 1, #due do
    local L = lib()
    local h = L.head(due[i])
    if h then
      L.place(due[i], h, L.bonds(h), L.score_of(h[4], 0) + i - 1)
    else
      L.bury(due[i], dead_ttl)
    end
  end
  if #due > 0 then call('ZREM', SCHEDULED, unpack(due)) end
  if #due > 0 and #due == tonumber(ARGV[5]) then again = true end
end

local first_expiry = quiet and {} or call('ZRANGE', EXPIRY, '0', '0', 'WITHSCORES')
if first_expiry[2] and tonumber(first_expiry[2]) <= now then
  local late = call('ZRANGEBYSCORE', EXPIRY, '-inf', int(now), 'LIMIT', '0', '100')
  for i = 1, #late do
    local L = lib()
    local h = L.head(late[i])
    local b = L.bonds(h)
    call('ZREM', EXPIRY, late[i])
    if h and L.leave(late[i], h, b) then L.expire(late[i], h, b) end
  end
  if #late == 100 then again = true end
  first_expiry = call('ZRANGE', EXPIRY, '0', '0', 'WITHSCORES')
end

if limited('T') then
  local free = try('ZRANGEBYSCORE', P .. ':parked', '-inf', int(now_us), 'LIMIT', '0', '64')
  for i = 1, #free do lib().unpark(free[i]) end
  if #free == 64 then again = true end
end
if limited('k') then
  local keys = try('ZRANGEBYSCORE', P .. ':lanes', '-inf', int(now_us), 'LIMIT', '0', '50')
  release_stirred()
  for i = 1, #keys do lib().release(keys[i]) end
  if #keys == 50 or lib().let_in_left() <= 0 then again = true end
end
