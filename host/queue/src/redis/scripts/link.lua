-- link: note in the parents' slot which tasks wait for them.
-- KEYS[1]  queue prefix
-- ARGV     per link: parent's id, child as queue/id (at most 500)
-- Returns  per link: 1 noted, the record of a parent that has ended, false if it is unknown;
--          2 if it has ended and the records so far are long enough: to be asked again; the
--          length of a long record, which is there for a minute more
-- Cost     O(1) per link
local ENOUGH_BYTES = 524288
local answer, bytes = {}, 0
for i = 1, #ARGV, 2 do
  local key = TASK .. ARGV[i]
  local ttl = call('PTTL', key)
  if ttl == -1 then
    call('SADD', P .. ':kids:' .. ARGV[i], ARGV[i + 1])
    call('SADD', LINKED, ARGV[i])
    answer[#answer + 1] = 1
  elseif ttl >= 0 and bytes >= ENOUGH_BYTES then
    answer[#answer + 1] = 2
  else
    -- Its end comes with the answer, since it may be forgotten at any moment.
    local length = HAS_LONG and ttl >= 0 and call('STRLEN', key)
    if length and length >= LONG then
      if ttl < 60000 then call('PEXPIRE', key, '60000') end
      answer[#answer + 1] = length
    else
      local record = ttl >= 0 and call('GET', key)
      bytes = bytes + (record and #record or 0)
      answer[#answer + 1] = record
    end
  end
end
return answer
