-- tally: to whom tasks belong that have not ended, and the types of those in lanes.
-- KEYS[1]  queue prefix
-- ARGV     live or laned, id... (at most 100)
-- Returns  tenant or type per id, empty if it does not count
-- Cost     O(1) per id
local L = lib()
local answer = {}
for i = 2, #ARGV do
  local h = call('PTTL', TASK .. ARGV[i]) == -1 and L.head(ARGV[i])
  answer[i - 1] = h and (ARGV[1] == 'live' and h[3] or h[2]) or ''
end
return answer
