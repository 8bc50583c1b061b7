-- rerun: give ended tasks a fresh set of attempts, and start waiting ones now.
-- KEYS[1]  queue prefix
-- ARGV     id...
-- Returns  one integer per id: 1 put in line, 0 pending or running already, -1 unknown
-- Cost     O(log n) per id
local answer = {}
for i = 1, #ARGV do
  local id = ARGV[i]
  local h = head(id)
  local done = -1
  if h then
    done = 0
    if redis.call('PTTL', TASK .. id) >= 0 then
      redis.call('APPEND', TASK .. id, cmsgpack.pack({ R = { now } }))
      redis.call('PERSIST', TASK .. id)
      redis.call('ZREM', DEAD, id)
      redis.call('HINCRBY', STATS, 'replayed', '1')
      make_ready(id, h[2], h[3], h[4], 0)
      done = 1
    elseif redis.call('ZREM', SCHEDULED, id) == 1 then
      make_ready(id, h[2], h[3], h[4], 0)
      done = 1
    end
  end
  answer[i] = done
end
return answer
