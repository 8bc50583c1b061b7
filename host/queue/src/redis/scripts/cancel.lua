-- cancel: end tasks that wait, ask the holders of running ones to stop.
-- KEYS[1]  queue prefix
-- ARGV     ttl of the cancelled tasks in ms (at least 1), id...
-- Returns  one integer per id: 2 cancelled, 1 asked the running attempt to stop,
--          0 already ended, -1 unknown
-- Cost     O(log n) per id
local answer, ended = {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local h = head(id)
  if not h then
    answer[#answer + 1] = redis.call('EXISTS', TASK .. id) - 1
  elseif redis.call('PTTL', TASK .. id) >= 0 then
    answer[#answer + 1] = 0
  elseif leave_line(id, h) or redis.call('ZREM', SCHEDULED, id) == 1 then
    redis.call('APPEND', TASK .. id, cmsgpack.pack({ C = { now } }))
    redis.call('PEXPIRE', TASK .. id, ARGV[1])
    ended[#ended + 1] = id
    answer[#answer + 1] = 2
  else
    redis.call('SADD', CANCEL, id)
    redis.call('PUBLISH', P .. ':cancel', id)
    answer[#answer + 1] = 1
  end
end
if #ended > 0 then
  redis.call('LPUSH', ENDED, unpack(ended))
  redis.call('LTRIM', ENDED, '0', ENDED_MAX)
  redis.call('HINCRBY', STATS, 'x', int(#ended))
  announce(ended)
end
return answer
