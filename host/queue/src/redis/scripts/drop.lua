-- drop: forget dead letters.
-- KEYS[1]  queue prefix
-- ARGV     id...
-- Returns  how many were dropped
-- Cost     O(log n) per id
local dropped = 0
for i = 1, #ARGV do
  if redis.call('ZREM', DEAD, ARGV[i]) == 1 then
    -- One that was kept long enough is gone already.
    dropped = dropped + redis.call('UNLINK', TASK .. ARGV[i])
  end
end
return dropped
