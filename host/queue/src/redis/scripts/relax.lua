-- relax: look again at what the policy before held back, or count what runs under keys.
-- KEYS[1]  queue prefix
-- ARGV     what (tenants, lanes or leases), then tenants, keys or lease members (at most 100)
-- Returns  how many were looked at
-- Cost     O(log n) each; at most 200 tasks leave their lanes
local L = lib()
local head, bonds, key_bounds, release, unpark =
  L.head, L.bonds, L.key_bounds, L.release, L.unpark
for i = 2, #ARGV do
  if ARGV[1] == 'tenants' then
    unpark(ARGV[i])
  elseif ARGV[1] == 'lanes' then
    release(ARGV[i])
  elseif call('ZSCORE', LEASES, ARGV[i]) then
    local id = sub(ARGV[i], 1, 36)
    local b = bonds(head(id))
    if b and b.key and key_bounds(b.key) then try('SADD', P .. ':use:' .. b.key, id) end
  end
end
return #ARGV - 1
