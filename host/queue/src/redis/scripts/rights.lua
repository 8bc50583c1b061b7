-- rights: which of these commands the calling user may not run.
-- KEYS[1]  none: any server can answer
-- ARGV     command lines, words separated by spaces
-- Returns  the lines that are not allowed; false where the server cannot tell (before
--          Redis 7.0)
-- Cost     O(command lines)
if not redis.acl_check_cmd then return false end
local missing = {}
for i = 1, #ARGV do
  local words = {}
  for word in string.gmatch(ARGV[i], '%S+') do words[#words + 1] = word end
  local known, may = pcall(redis.acl_check_cmd, unpack(words))
  if known and not may then missing[#missing + 1] = ARGV[i] end
end
return missing
