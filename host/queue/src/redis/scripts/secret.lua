-- secret: keep sealed secrets in a hash of their own. What they are is not known here.
-- KEYS[1]  namespace:secrets
-- ARGV     put, field, sealed bytes, the most fields; then, if it is to take the place of
--          exactly these bytes only, those
--          delete, field
-- Returns  put: 1 stored, 0 other bytes or none are there, -1 there are too many; delete: 1, or
--          0 if it is unknown
-- Cost     O(1)
local field = ARGV[2]
if ARGV[1] == 'delete' then return redis.call('HDEL', KEYS[1], field) end
local held = redis.call('HGET', KEYS[1], field)
if ARGV[5] and held ~= ARGV[5] then return 0 end
if not held and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], field, ARGV[3])
return 1
