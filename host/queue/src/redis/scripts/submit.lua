-- submit: store tasks and put them where they belong.
-- KEYS[1]  queue prefix
-- ARGV     per task: id, record, type, tenant, priority, not_before (Unix ms, 0 = now);
--          at most 1,000 tasks. A long record is sent ahead to `draft:<id>:<name>` and stands
--          here as byte 193 and that name
-- Returns  one answer per task: 1 accepted, 0 the id is already known,
--          { 2, holder } the unique key is taken, { 3, holder } this task exists under it,
--          { 4, holder } accepted in place of the holder, 5 over the tenant's pending
--          quota, 6 over its payload quota, { 7, Unix ms } its minute's quota is spent until
--          then, 8 what was sent ahead is not there: send it here
-- Cost     O(log n) per task, and per parent of a task that waits for others
-- `line` is the one that came last: most tasks of a call share one.
local lines, line, answer, n, accepted = {}, {}, {}, 0, 0
local QUOTAS = limited('p')
for i = 1, #ARGV, 6 do
  local id, record, task_type, tenant = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local level, due = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  n = n + 1
  if QUOTAS or byte(record) ~= PLAIN or #record >= LONG then
    answer[n] = lib().store(id, record, task_type, tenant, level, due, n - 1)
  elseif call('SETNX', TASK .. id, record) == 0 then
    answer[n] = 0
  else
    answer[n] = 1
    accepted = accepted + 1
    if EVENTS then lib().event('submitted', id, task_type, tenant) end
    if due > now then
      live_change[tenant] = (live_change[tenant] or 0) + 1
      lib().schedule(id, task_type, tenant, due)
    else
      if task_type ~= line.type or tenant ~= line.tenant then
        local name = task_type .. ':' .. tenant
        line = lines[name] or { type = task_type, tenant = tenant, n = 0 }
        lines[name] = line
      end
      -- One microsecond apart, so that a batch keeps its order.
      local last = line.n + 2
      line[last - 1] = int(now_us + n - 1 - level * HEAD_START_US)
      line[last] = id
      line.n = last
    end
  end
end
for name, line in pairs(lines) do
  try('ZADD', READY .. name, unpack(line, 1, line.n))
  live_change[line.tenant] = (live_change[line.tenant] or 0) + line.n / 2
  join_ring(line.type, line.tenant)
  wake(line.type, line.tenant)
end
if accepted > 0 then try('HINCRBY', STATS, 'submitted', int(accepted)) end
write_live()
return answer
