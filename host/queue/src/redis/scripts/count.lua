-- count: count ended members of batches, and submit the callback of one that is over.
-- Counting a member twice changes nothing.
-- KEYS[1]  queue prefix
-- ARGV     per member: batch id, member as queue/id, how it ended (c d x e) (at most 500)
-- Returns  outbox (1 = has events)
-- Cost     O(1) per member
local function submit_callback(id, key)
  local f = call('HMGET', key, 'cb', 'cb_type', 'cb_tenant', 'cb_level', 'cb_due',
    'cb_head', 'cb_content', 'cb_pairs', 'cb_count', 'cb_tail', 'total', 'c', 'd', 'x', 'e')
  if not f[1] then return end
  local pairs_of, n = f[8], tonumber(f[9]) + 6
  local counts = {
    { 'batch', id }, { 'batch_total', f[11] }, { 'batch_completed', f[12] or '0' },
    { 'batch_failed', f[13] or '0' }, { 'batch_cancelled', f[14] or '0' },
    { 'batch_expired', f[15] or '0' },
  }
  for i = 1, #counts do pairs_of = pairs_of .. cmsgpack.pack(counts[i]) end
  local count = n < 16 and string.char(144 + n)
    or string.char(220, math.floor(n / 256) % 256, n % 256)
  -- The envelope is an array of seven: submitted at, content, metadata, the rest.
  local record = f[6] .. '\151' .. cmsgpack.pack(now) .. f[7] .. count .. pairs_of .. f[10]
  lib().store(f[1], record, f[2], f[3], tonumber(f[4]), tonumber(f[5]), 0, true)
end
for i = 1, #ARGV, 3 do
  local id, member, kind = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = P .. ':batch:' .. id
  if call('EXISTS', key) == 1 and call('SREM', key .. ':open', member) == 1 then
    call('HINCRBY', key, kind, '1')
    local f = call('HMGET', key, 'over_at', 'over', 'retention_ms')
    local all = call('EXISTS', key .. ':open') == 0
    if not f[1] and (all or (f[2] == 'first_failure' and kind ~= 'c')) then
      call('HSET', key, 'over_at', int(now))
      call('PEXPIRE', key, f[3])
      call('PEXPIRE', key .. ':open', f[3])
      submit_callback(id, key)
    end
  end
end
write_live()
return call('EXISTS', OUTBOX)
