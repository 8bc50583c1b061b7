-- kv_get: what is stored under a key.
-- KEYS[1]  tenant's prefix
-- ARGV     plugin, key
-- Returns  value, version, milliseconds until it goes (nil: it stays); nil if there is none
-- Cost     O(log n) in the tenant's values that expire, and the value's bytes
local key = ARGV[2]
local value = call('HGET', VALUES .. plugin, key)
if not value then return false end
local at = ends(key)
if at and at <= now then return false end
return { value, call('HGET', VERSIONS .. plugin, key), at and int(at - now) }
