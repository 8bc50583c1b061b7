-- resume: take a queue's pause away and wake idle hosts.
-- KEYS[1]  queue prefix
-- Returns  1 if it was paused, else 0
-- Cost     O(types)
local was = redis.call('HDEL', CONFIG, 'paused')
for _, t in ipairs(redis.call('SMEMBERS', P .. ':types')) do
  if redis.call('EXISTS', RING .. t) == 1 then wake(t) end
end
return was
