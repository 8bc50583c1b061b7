-- link: note in the parents' slot which tasks wait for them.
-- KEYS[1]  queue prefix
-- ARGV     per link: parent's id, child as queue/id (at most 500)
-- Returns  per link: 1 noted, the record of a parent that has ended, false if it is unknown
-- Cost     O(1) per link
local answer = {}
for i = 1, #ARGV, 2 do
  local key = TASK .. ARGV[i]
  local ttl = call('PTTL', key)
  if ttl == -1 then
    call('SADD', P .. ':kids:' .. ARGV[i], ARGV[i + 1])
    call('SADD', LINKED, ARGV[i])
    answer[#answer + 1] = 1
  else
    -- Its end comes with the answer, since it may be forgotten at any moment.
    answer[#answer + 1] = ttl >= 0 and call('GET', key) or false
  end
end
return answer
