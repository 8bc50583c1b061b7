-- quota: what of their bounds tenants have in use.
-- KEYS[1]  queue prefix
-- ARGV     tenants (at most 100)
-- Returns  { { tasks that have not ended, running, starts, fuel, KiB·ms }... }; all but the
--          first are -1 where the policy does not bound them
-- Cost     O(1) per tenant
local L = lib()
local USED_MAX = 9007199254740992
-- What of a minute's quota has not come back, as in bulkhead_core::MinuteBucket.
local function used(kind, tenant, quota)
  if not quota then return -1 end
  local missing = math.max(0, L.usage_tat(kind, tenant, quota) - now_us)
  return math.min(math.floor(missing * quota / 60000000), USED_MAX)
end
local answer = {}
for i, tenant in ipairs(ARGV) do
  local b = limited('T') and L.tenant_bounds(tenant) or {}
  local a = L.allowance('T:' .. tenant, b[2], b[3], b[4])
  answer[i] = {
    tonumber(try('HGET', LIVE, tenant) or 0) or 0,
    b[2] and b[2] - a.slots or -1, b[3] and b[4] - a.tokens or -1,
    used('f', tenant, b[7]), used('m', tenant, b[8]),
  }
end
return answer
