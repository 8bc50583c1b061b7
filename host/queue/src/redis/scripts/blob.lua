-- blob: make bytes that were sent in pieces one blob that is seen; forget one.
-- KEYS[1]  {namespace:blobs:}, the prefix of all blobs
-- ARGV     keep, digest, the draft's name, bytes, pieces, the most blobs, the most bytes
--          forget, digest
-- Returns  keep: 1 kept, 0 the draft is not whole, -1 there is no room; forget: 1, or 0 if there
--          is none
-- Cost     O(blobs + pieces of one), both bounded; no piece is looked into
local call = redis.call
local digest = ARGV[2]
local INDEX, DATA = KEYS[1] .. ':index', KEYS[1] .. ':data:' .. digest .. ':'
local PIECE_BYTES = 1048576

local function size_of(entry) return tonumber(string.match(entry, '^%d+')) end

local held = call('HGET', INDEX, digest)
if ARGV[1] == 'forget' then
  if not held then return 0 end
  for at = 0, math.ceil(size_of(held) / PIECE_BYTES) - 1 do call('DEL', DATA .. at) end
  return call('HDEL', INDEX, digest)
end
local draft = KEYS[1] .. ':draft:' .. digest .. ':' .. ARGV[3] .. ':'
local size, pieces = tonumber(ARGV[4]), tonumber(ARGV[5])
local sent = 0
for at = 0, pieces - 1 do sent = sent + call('STRLEN', draft .. at) end
if sent ~= size then return 0 end
local sum = size - (held and size_of(held) or 0)
for _, entry in ipairs(call('HVALS', INDEX)) do sum = sum + size_of(entry) end
if sum > tonumber(ARGV[7]) or (not held and call('HLEN', INDEX) >= tonumber(ARGV[6])) then
  return -1
end
local clock = call('TIME')
for at = 0, pieces - 1 do
  call('RENAME', draft .. at, DATA .. at)
  call('PERSIST', DATA .. at)
end
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
call('HSET', INDEX, digest, ARGV[4] .. ' ' .. string.format('%d', now))
return 1
