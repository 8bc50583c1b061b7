-- link: note in the parents' slot which tasks wait for them.
-- KEYS[1]  queue prefix
-- ARGV     per link: parent's id, child as queue/id (at most 500)
-- Returns  per link: 1 noted, 0 the parent has ended or is unknown
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
    -- Its end is about to be read: it must not be forgotten just now.
    if ttl >= 0 and ttl < 60000 and not call('ZSCORE', DEAD, ARGV[i]) then
      call('PEXPIRE', key, '60000')
    end
    answer[#answer + 1] = 0
  end
end
return answer
