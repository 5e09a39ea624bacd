#!lua flags=allow-oom
-- Forgets that these jobs waited for one that has ended, and its end with the last of them.
-- ARGV  1 the ended job  2 its state  3... those who were told
local waits = P .. ':waits:' .. ARGV[1]
for i = 3, #ARGV do call('ZREM', waits, ARGV[i]) end
if call('EXISTS', waits) == 0 then call('ZREM', P .. ':ends', ARGV[1] .. ' ' .. ARGV[2]) end
return 'done'
