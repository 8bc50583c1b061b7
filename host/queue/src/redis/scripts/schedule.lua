-- schedule: keep schedules. A schedule's state is a hash: next, paused, last_at, last_task,
-- fired, skipped; `fires` orders those that are not paused by their next fire.
-- KEYS[1]  queue prefix
-- ARGV     put, name, definition, next fire (Unix ms) or empty
--          remove, name
--          pause, name, 1 or 0, next fire or empty
-- Returns  put: 1 if anything changed, else 0; others: 1, or 0 if it is unknown
-- Cost     O(log n)
local name = ARGV[2]
local all, state, fires = P .. ':schedules', P .. ':schedule:' .. name, P .. ':fires'
local known = call('HGET', all, name)
local function set_next(next_at)
  call('HSET', state, 'next', next_at)
  if next_at == '' or call('HGET', state, 'paused') == '1' then
    call('ZREM', fires, name)
  else
    call('ZADD', fires, next_at, name)
  end
end
if ARGV[1] == 'put' then
  if known == ARGV[3] then return 0 end
  call('HSET', all, name, ARGV[3])
  set_next(ARGV[4])
  return 1
end
if not known then return 0 end
if ARGV[1] == 'remove' then
  call('HDEL', all, name)
  call('ZREM', fires, name)
  call('DEL', state)
else
  call('HSET', state, 'paused', ARGV[3])
  set_next(ARGV[4])
end
return 1
