-- inspect: where tasks are. State is read from the one index that holds it.
-- KEYS[1]  queue prefix
-- ARGV     id... (at most 100)
-- Returns  per id: false when unknown, else
--          { record, or the length of a long one, state (s p r b d e), due or expiry in
--            Unix ms, lease member, cancel asked, progress, { parents that a blocked task
--            waits for } }
--          s scheduled, p pending, r running, b blocked, d dead letter, e otherwise ended
-- Cost     O(log n) per id; running ids scan the lease set together (O(in flight))
local L = lib()
local head, bonds = L.head, L.bonds
local answer, running, first, several = {}, {}, nil, false
for i = 1, #ARGV do
  local id = ARGV[i]
  local record = HAS_LONG and try('STRLEN', TASK .. id)
  if type(record) ~= 'number' or record < LONG then record = try('GET', TASK .. id) end
  if type(record) == 'table' then record = '' end
  if not record then
    answer[i] = false
  else
    local state, time, parents = 'p', -1, {}
    local ttl = call('PTTL', TASK .. id)
    local due = try('ZSCORE', SCHEDULED, id)
    if ttl >= 0 then
      -- The entry of one that was forgotten may stay, and its id be another task's since.
      local dead_until = tonumber(try('ZSCORE', DEAD, id) or 0)
      state, time = dead_until >= now and 'd' or 'e', now + ttl
    elseif due then
      state, time = 's', tonumber(due)
    else
      local h = head(id)
      local b = bonds(h)
      if b and b.after and try('ZSCORE', P .. ':blocked', id) then
        state, parents = 'b', try('SMEMBERS', P .. ':deps:' .. id)
      elseif h and try('ZSCORE', READY .. h[2] .. ':' .. h[3], id) then
        state = 'p'
      elseif not (b and b.key and try('ZSCORE', P .. ':lane:' .. b.key, id)) then
        running[id] = i
        several = several or (first ~= nil and first ~= id)
        first = first or id
      end
    end
    answer[i] = { record, state, time, '', try('SISMEMBER', CANCEL, id), '', parents }
  end
end
local function hold(member)
  local i = running[sub(member, 1, 36)]
  if not i then return end
  local a = answer[i]
  a[2], a[3], a[4] = 'r', tonumber(call('ZSCORE', LEASES, member)), member
  a[6] = try('HGET', PROGRESS, ARGV[i]) or ''
end
if first and not several then
  local cursor = '0'
  repeat
    local page = call('ZSCAN', LEASES, cursor, 'MATCH', first .. ':*', 'COUNT', '1000')
    cursor = page[1]
    for k = 1, #page[2], 2 do hold(page[2][k]) end
  until cursor == '0'
elseif first then
  for _, member in ipairs(call('ZRANGE', LEASES, '0', '-1')) do hold(member) end
end
return answer
