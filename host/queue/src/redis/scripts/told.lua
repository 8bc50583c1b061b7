-- told: dependants of one end were told: forget them, and the parent if only they kept it.
-- KEYS[1]  queue prefix
-- ARGV     `id:time` of the end (µs), when the parent was to be forgotten (Unix ms) or -,
--          children told (at most 1,000)...
-- Returns  how many dependants are left
-- Cost     O(1) per child
local key = P .. ':told:' .. ARGV[1]
if #ARGV > 2 then call('SREM', key, unpack(ARGV, 3)) end
local left = call('SCARD', key)
if left == 0 and ARGV[2] ~= '-' then
  local task, ended_us = TASK .. sub(ARGV[1], 1, 36), tonumber(sub(ARGV[1], 38)) or 0
  local ttl = call('PTTL', task)
  -- Not if it has been given fresh attempts and has ended again since.
  local expected = math.floor(ended_us / 1000) + 3600000
  if ttl >= 0 and math.abs(now + ttl - expected) <= 2 then
    local forget_ms = math.max(0, tonumber(ARGV[2]) - now)
    if forget_ms == 0 then call('UNLINK', task) else call('PEXPIRE', task, int(forget_ms)) end
  end
end
return left
