-- drop: forget dead letters.
-- KEYS[1]  queue prefix
-- ARGV     id... (at most 1,000)
-- Returns  how many were dropped
-- Cost     O(log n) per id
local dropped = 0
for i = 1, #ARGV do
  if call('ZREM', DEAD, ARGV[i]) == 1 then
    -- One that was kept long enough is gone already.
    dropped = dropped + call('UNLINK', TASK .. ARGV[i])
  end
end
return dropped
