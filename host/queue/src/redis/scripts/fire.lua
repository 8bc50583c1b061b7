-- fire: submit what a schedule fires, if nobody else has, and set its next fire.
-- KEYS[1]  queue prefix
-- ARGV     name, expected next fire or empty, next fire or empty, exclusive (1 or 0),
--          by hand (1 or 0), then per fire: time, id, record, type, tenant, priority,
--          not_before (at most 1,000)
-- Returns  { how many tasks were new; -1 the previous task has not ended and the schedule is
--            exclusive, -2 it is no longer due at the expected time, -3 unknown;
--            outbox (1 = has events) }
-- Cost     O(log n) per fire
local name, expected, next_at, exclusive, by_hand =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5] == '1'
local state, fires = P .. ':schedule:' .. name, P .. ':fires'
if call('HEXISTS', P .. ':schedules', name) == 0 then return { -3, 0 } end
local f = call('HMGET', state, 'next', 'paused', 'last_task')
if not by_hand then
  if f[2] == '1' or (f[1] or '') ~= expected then return { -2, 0 } end
  call('HSET', state, 'next', next_at)
  if next_at == '' then call('ZREM', fires, name) else call('ZADD', fires, next_at, name) end
end
local last, last_at, new, skipped = f[3], nil, 0, 0
for i = 6, #ARGV, 7 do
  local id = ARGV[i + 1]
  if exclusive and last and last ~= id and call('PTTL', TASK .. last) == -1 then
    skipped = skipped + 1
  else
    local answer = lib().store(id, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], tonumber(ARGV[i + 5]),
      tonumber(ARGV[i + 6]), (i - 6) / 7)
    if answer == 1 or (type(answer) == 'table' and answer[1] == 4) then new = new + 1 end
    if call('EXISTS', TASK .. id) == 1 or answer == 1 then last, last_at = id, ARGV[i] end
  end
end
if new > 0 then try('HINCRBY', state, 'fired', int(new)) end
if skipped > 0 then try('HINCRBY', state, 'skipped', int(skipped)) end
if last_at then try('HSET', state, 'last_at', last_at, 'last_task', last) end
write_live()
if skipped > 0 and not last_at then new = -1 end
return { new, call('EXISTS', OUTBOX) }
