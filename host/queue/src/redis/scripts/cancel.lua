-- cancel: end tasks that wait, ask the holders of running ones to stop.
-- KEYS[1]  queue prefix
-- ARGV     ttl in ms of cancelled tasks that ask for none of their own, id... (at most 1,000)
-- Returns  { one integer per id: 2 cancelled, 1 asked the running attempt to stop,
--            0 already ended, -1 unknown; outbox (1 = has events) }
-- Cost     O(log n) per id
local L = lib()
local head, bonds, leave, finish = L.head, L.bonds, L.leave, L.finish
local answer, ttl = {}, tonumber(ARGV[1])
for i = 2, #ARGV do
  local id = ARGV[i]
  local h = head(id)
  local b = bonds(h)
  if not h then
    answer[#answer + 1] = call('EXISTS', TASK .. id) - 1
  elseif call('PTTL', TASK .. id) >= 0 then
    answer[#answer + 1] = 0
  elseif leave(id, h, b) then
    finish(id, h, b, 'x', { C = { now } }, ttl)
    answer[#answer + 1] = 2
  else
    try('SADD', CANCEL, id)
    try('PUBLISH', P .. ':cancel', id)
    answer[#answer + 1] = 1
  end
end
write_live()
return { answer, call('EXISTS', OUTBOX) }
