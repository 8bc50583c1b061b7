-- rerun: give ended tasks a fresh set of attempts, and start waiting ones now.
-- KEYS[1]  queue prefix
-- ARGV     id... (at most 1,000)
-- Returns  one integer per id: 1 put in line, 0 pending or running already, -1 unknown
-- Cost     O(log n) per id
local L = lib()
local revive = L.revive
local answer = {}
for i = 1, #ARGV do answer[i] = revive(ARGV[i]) end
write_live()
return answer
