-- What the scripts of values begin with. KEYS[1] is a tenant's prefix `{namespace:kv:tenant}`:
-- all that its plugins store lives in one hash slot, so that its sum is exact. ARGV[1] is the
-- plugin's name, or OWNER@NAME; it has no `:` and no `/` in it.
local call = redis.call
local S, plugin = KEYS[1], ARGV[1]
local VALUES, VERSIONS, NAMES = S .. ':values:', S .. ':versions:', S .. ':keys:'
local EXPIRY, BYTES, NEWEST = S .. ':expiry', S .. ':bytes', S .. ':newest'

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Numbers go to Redis as text made here: the default conversion loses digits.
local function int(n) return string.format('%d', n) end

-- When a value goes, in ms, or false.
local function ends(key)
  local at = call('ZSCORE', EXPIRY, plugin .. '/' .. key)
  return at and tonumber(at)
end
