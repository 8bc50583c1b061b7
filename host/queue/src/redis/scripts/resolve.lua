-- resolve: tell blocked tasks that one they wait for has ended. Telling twice changes
-- nothing.
-- KEYS[1]  queue prefix
-- ARGV     per end: child's id, parent as queue/id, how it ended (c d x e, u unknown), the
--          entry for the child's record (at most 100). A long entry is sent ahead, behind a
--          copy of the record, to `draft:<id>:<name>`; it stands here as byte 193, the length
--          of the record, a space and that name
-- Returns  { outbox (1 = has events), indexes of ends of which nothing was sent ahead }: those
--          are to be told with their entries
-- Cost     O(log n) per end
local L = lib()
local head, bonds, bury, finish, event, schedule, place, score_of, KEPT =
  L.head, L.bonds, L.bury, L.finish, L.event, L.schedule, L.place, L.score_of, L.KEPT
local unsent = {}
for i = 1, #ARGV, 4 do
  local id, parent, kind, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local base, name = string.match(entry, '^' .. string.char(AHEAD) .. '(%d+) (%x+)$')
  local draft = base and P .. ':draft:' .. id .. ':' .. name
  local deps = P .. ':deps:' .. id
  local blocked = P .. ':blocked'
  if draft and not L.is_whole(draft) then
    unsent[#unsent + 1] = (i + 3) / 4
  elseif call('SREM', deps, parent) == 1 and call('ZSCORE', blocked, id) then
    local h = head(id)
    local b = bonds(h)
    if not h then
      try('ZREM', blocked, id)
      bury(id, KEPT)
    else
      local policy = b and b.on_failed_parent or 'fail'
      if draft then
        L.take_draft(TASK .. id, draft, tonumber(base))
        entry = ''
      end
      L.grown_to(try('APPEND', TASK .. id, entry))
      if kind ~= 'c' and policy ~= 'run' then
        try('ZREM', blocked, id)
        if policy == 'cancel' then
          finish(id, h, b, 'x', { C = { now, { p = parent } } }, KEPT)
        else
          finish(id, h, b, 'd', { D = { now, parent } }, KEPT)
        end
      elseif call('EXISTS', deps) == 0 then
        try('ZREM', blocked, id)
        local due = tonumber(try('HGET', P .. ':starts', id)) or 0
        try('HDEL', P .. ':starts', id)
        if EVENTS then event('unblocked', id, h[2], h[3]) end
        if due > now then
          schedule(id, h[2], h[3], due)
        else
          place(id, h, b, score_of(h[4], 0))
        end
      end
    end
  end
  if draft then try('UNLINK', draft) end
end
write_live()
return { call('EXISTS', OUTBOX), unsent }
