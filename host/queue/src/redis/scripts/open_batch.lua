-- open_batch: make a batch known. Its members are added first, some at a time; they count
-- from the call that opens it.
-- KEYS[1]  queue prefix
-- ARGV     add, batch id, retention_ms, member (queue/id)... (at most 1,000)
--          open, batch id, retention_ms, field, value... of the batch
-- Returns  1 added or opened, 0 the batch was known
-- Cost     O(1) per member
local key, members = P .. ':batch:' .. ARGV[2], P .. ':batch:' .. ARGV[2] .. ':open'
if call('EXISTS', key) == 1 then return 0 end
if ARGV[1] == 'add' then
  call('SADD', members, unpack(ARGV, 4))
  call('PEXPIRE', members, ARGV[3])
  return 1
end
call('HSET', key, 'opened_at', int(now), 'retention_ms', ARGV[3],
  'total', int(call('SCARD', members)), unpack(ARGV, 4))
call('PEXPIRE', key, ARGV[3])
call('PEXPIRE', members, ARGV[3])
call('ZADD', P .. ':batches', int(now), ARGV[2])
call('ZREMRANGEBYRANK', P .. ':batches', '0', '-10001')
return 1
