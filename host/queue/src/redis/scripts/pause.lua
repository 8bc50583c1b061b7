-- pause: stop handing out claims of the queue, or of one type; or start again, and wake
-- idle hosts.
-- KEYS[1]  queue prefix
-- ARGV     1 to stop, 0 to start; type, empty for the whole queue
-- Returns  1 if that was news, else 0
-- Cost     O(types)
local stop, task_type = ARGV[1] == '1', ARGV[2]
local news
if task_type == '' then
  news = stop and call('HSET', CONFIG, 'paused', '1') or call('HDEL', CONFIG, 'paused')
else
  news = call(stop and 'SADD' or 'SREM', P .. ':paused', task_type)
  if call('EXISTS', P .. ':paused') == 1 then
    call('HSET', CONFIG, 'held_types', '1')
  else
    call('HDEL', CONFIG, 'held_types')
  end
end
if not stop then
  for _, t in ipairs(call('SMEMBERS', P .. ':types')) do
    if call('EXISTS', RING .. t) == 1 then wake(t) end
  end
end
return news
