-- submit: store tasks and put them in line.
-- KEYS[1]  queue prefix
-- ARGV     per task: id, record, type, tenant, priority, not_before (Unix ms, 0 = now)
-- Returns  one integer per task: 1 accepted, 0 the id is already known
-- Cost     O(log n) per task
local lines, scheduled, answer = {}, {}, {}
local ready, delayed = 0, 0
for i = 1, #ARGV, 6 do
  local id, task_type, tenant = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local due = tonumber(ARGV[i + 5])
  if not redis.call('SET', TASK .. id, ARGV[i + 1], 'NX') then
    answer[#answer + 1] = 0
  else
    answer[#answer + 1] = 1
    if due > now then
      delayed = delayed + 1
      local first = redis.call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')
      redis.call('ZADD', SCHEDULED, int(due), id)
      if not first[1] or due < tonumber(first[2]) then wake(task_type) end
    else
      local name = task_type .. ':' .. tenant
      local line = lines[name]
      if not line then
        line = { type = task_type, tenant = tenant, n = 0 }
        lines[name] = line
      end
      -- One microsecond apart, so that a batch keeps its order.
      line[line.n + 1] = int(now_us + ready - tonumber(ARGV[i + 4]) * HEAD_START_US)
      line[line.n + 2] = id
      line.n = line.n + 2
      ready = ready + 1
    end
  end
end
for name, line in pairs(lines) do
  redis.call('ZADD', READY .. name, unpack(line, 1, line.n))
  join_ring(line.type, line.tenant)
  wake(line.type)
end
if ready + delayed > 0 then redis.call('HINCRBY', STATS, 'submitted', int(ready + delayed)) end
return answer
