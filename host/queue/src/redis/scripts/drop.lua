-- drop: forget dead letters.
-- KEYS[1]  queue prefix
-- ARGV     id... (at most 1,000)
-- Returns  how many were dropped
-- Cost     O(log n) per id
local dropped = 0
for i = 1, #ARGV do
  local kept_until = tonumber(call('ZSCORE', DEAD, ARGV[i]) or 0)
  if kept_until > 0 then call('ZREM', DEAD, ARGV[i]) end
  -- One that was kept long enough is gone already; the id may be another task's since.
  if kept_until >= now then dropped = dropped + call('UNLINK', TASK .. ARGV[i]) end
end
return dropped
