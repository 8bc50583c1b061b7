-- step: everything one host has to say to one queue, and everything it wants. The parts in
-- the folder `step` follow: settle, renew, reclaim, promote, claim.
-- KEYS[1]  queue prefix
-- ARGV     want, lease_ms, host, reclaim_max, promote_max, dead_ttl,
--          n types, type...,
--          n types served for some tenants only, then per type: type, n tenants, tenant...,
--          n renewals, member...,
--          n settlements, in runs: kind, ttl, length of the run, then per settlement: member,
--          and for kind
--            c x d  entry           complete, cancel, dead-letter
--            s      entry, n tasks, then per task what `submit` takes of one, n tasks of
--                   other queues, then per task queue/id and record
--                                   complete and submit
--            u      record          dead-letter with a new record (the old one is unreadable)
--            r      entry, delay    retry after delay ms
--            b      type, tenant, priority   give back, no attempt spent
--          Records of submitted tasks may be sent ahead as for `submit`. A long entry is too, behind a copy of its record, to `draft:<id>:<token>`;
--          it stands here as byte 193 and the length of the record,
--          n progress, then per attempt: member, progress,
--          n rows of usage, then per row: `tenant:plugin:type`, attempts, n fields, then per
--            field: its suffix and what to add (see docs/redis.md),
--          bytes of records that the claims may bring, and 1 if the step claimed before (else
--          0, and a longer record comes alone)
--          A member is `id:token:tenant:type:host`, as a claim returned it.
--          At most 1,000 of each; the host sends 250, where a settlement that submits counts
--          its tasks too. One with more travels alone.
-- Returns  { stale settlement indexes (from 1), lost renewal indexes (from 1),
--            ids to cancel among the renewed, members, records or the lengths of long ones,
--            cancelled flags, ms until something is due (-1 = nothing), reclaimed, outbox (1 =
--            has events), indexes of settlements of which nothing was sent ahead: their claims
--            stand, settle them with all that belongs to them }
-- Cost     O(log n) per settlement, submitted task, renewal and claim; all else is bounded per step
local want, lease_ms, host = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local asked, dead_ttl = want, tonumber(ARGV[6])
local at = 7
local function take()
  at = at + 1
  return ARGV[at - 1]
end
local function take_list()
  local list, n = {}, tonumber(take())
  for i = 1, n do list[i] = ARGV[at + i - 1] end
  at = at + n
  return list
end
local types = take_list()
-- Types served for some tenants only: { type, tenants }. None of them is among `types`.
local narrow = take()
if narrow == '0' then
  narrow = nil
else
  local n = tonumber(narrow)
  narrow = {}
  for i = 1, n do narrow[i] = { take(), take_list() } end
end
local renewals = take_list()
-- Whether this step left work behind that its host should come back for at once.
local again = false

-- How many leases of a `tenant:type:host` left the lease set, and how many of those tasks
-- have not ended.
local left, alive = {}, {}

-- Nobody waits for an end, depends on one, asked for a cancellation, shows progress or
-- expires, and nothing is to be delivered: one look spares all others.
local quiet = call('EXISTS', WAITERS, LINKED, CANCEL, PROGRESS, EXPIRY, OUTBOX) == 0
