-- watch: ask for the ends of tasks to be told on the channel `done`.
-- KEYS[1]  queue prefix
-- ARGV     id... (at most 500)
-- Returns  one integer per id: 1 known (told at its end, if that is still to come), 0 unknown
-- Cost     O(1) per id
local answer = {}
for i = 1, #ARGV do
  local ttl = call('PTTL', TASK .. ARGV[i])
  if ttl == -1 then call('SADD', WAITERS, ARGV[i]) end
  answer[i] = ttl == -2 and 0 or 1
end
return answer
