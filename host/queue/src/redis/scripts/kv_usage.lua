-- kv_usage: how much is stored, expired values that were not swept yet included.
-- KEYS[1]  tenant's prefix
-- ARGV     plugin
-- Returns  keys and bytes of the plugin, bytes of all the tenant's plugins
-- Cost     O(1)
local bytes = call('HMGET', BYTES, plugin, '')
return { call('ZCARD', NAMES .. plugin), bytes[1] or '0', bytes[2] or '0' }
