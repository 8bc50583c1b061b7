-- edit: give an ended task another record and fresh attempts.
-- KEYS[1]  queue prefix
-- ARGV     id, length of the record that the new one was made from, its last bytes (at most
--          256), the new record
-- Returns  1 put in line, 0 it has not ended, -1 unknown, -2 the record is another by now
-- Cost     O(log n)
local L = lib()
local revive = L.revive
local key = TASK .. ARGV[1]
local ttl = call('PTTL', key)
if ttl == -2 then return -1 end
if ttl == -1 then return 0 end
local length = try('STRLEN', key)
if length ~= tonumber(ARGV[2]) then return -2 end
if call('GETRANGE', key, int(-#ARGV[3]), '-1') ~= ARGV[3] then return -2 end
call('SET', key, ARGV[4], 'KEEPTTL')
L.grown_to(#ARGV[4])
local answer = revive(ARGV[1])
write_live()
return answer
