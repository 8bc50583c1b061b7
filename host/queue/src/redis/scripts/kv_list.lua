-- kv_list: keys in the order of their bytes, without those whose time has passed.
-- KEYS[1]  tenant's prefix
-- ARGV     plugin, first and last key as ZRANGE takes them by lex, keys wanted, keys looked at
--          at most
-- Returns  the keys, and the last one looked at if there may be more behind it (else nil)
-- Cost     O(log n) each key looked at
local found = call('ZRANGE', NAMES .. plugin, ARGV[2], ARGV[3], 'BYLEX', 'LIMIT', '0', ARGV[5])
local wanted, live, at = tonumber(ARGV[4]), {}, 0
while at < #found and #live < wanted do
  at = at + 1
  local gone_at = ends(found[at])
  if not gone_at or gone_at > now then live[#live + 1] = found[at] end
end
local more = at < #found or #found == tonumber(ARGV[5])
return { live, more and found[at] }
