-- inspect: where tasks are. State is read from the one index that holds it.
-- KEYS[1]  queue prefix
-- ARGV     id...
-- Returns  per id: false when unknown, else
--          { record, state (s r p e d), due or expiry in Unix ms, lease member, cancel asked }
--          s scheduled, p pending, r running, d dead letter, e otherwise ended
-- Cost     O(log n) per id; a running id scans the lease set (O(in flight))
local answer = {}
for i = 1, #ARGV do
  local id = ARGV[i]
  local ok, record = pcall(redis.call, 'GET', TASK .. id)
  if not ok or type(record) == 'table' then record = '' end
  if not record then
    answer[i] = false
  else
    local state, time, member = 'p', -1, ''
    local ttl = redis.call('PTTL', TASK .. id)
    local due = redis.call('ZSCORE', SCHEDULED, id)
    if ttl >= 0 then
      state, time = redis.call('ZSCORE', DEAD, id) and 'd' or 'e', now + ttl
    elseif due then
      state, time = 's', tonumber(due)
    else
      local h = head(id)
      if not (h and redis.call('ZSCORE', READY .. h[2] .. ':' .. h[3], id)) then
        local cursor = '0'
        repeat
          local page = redis.call('ZSCAN', LEASES, cursor, 'MATCH', id .. ':*', 'COUNT', '1000')
          cursor = page[1]
          if page[2][1] then
            state, member, time = 'r', page[2][1], tonumber(page[2][2])
            cursor = '0'
          end
        until cursor == '0'
      end
    end
    answer[i] = { record, state, time, member, redis.call('SISMEMBER', CANCEL, id) }
  end
end
return answer
