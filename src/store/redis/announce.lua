#!lua
-- Keeps what a worker says of itself, and forgets those who have been silent for too long.
-- ARGV  1 now  2 who spoke then, or before, is gone  3 id  4 what it says, as JSON
local all = call('HGETALL', P .. ':workers')
for i = 1, #all, 2 do
  if tonumber(string.match(all[i + 1], '^%-?%d+')) <= tonumber(ARGV[2]) then
    for _, table in ipairs({':workers', ':orders', ':taken'}) do call('HDEL', P .. table, all[i]) end
  end
end
call('HSET', P .. ':workers', ARGV[3], ARGV[1] .. ' ' .. ARGV[4])
return 'done'
