#!lua flags=no-writes
-- The end that was noted first, and jobs that waited for it and have not been told.
-- ARGV  1 how many jobs at most
-- Returns nothing, or {id, state, when, found...}.
local first = call('ZRANGE', P .. ':ends', 0, 0, 'WITHSCORES')
if #first == 0 then return {} end
local id, st = string.match(first[1], '^(%S+) (%d)$')
local answer = {id, st, first[2]}
for _, waiting in ipairs(call('ZRANGE', P .. ':waits:' .. id, 0, ARGV[1] - 1)) do answer[#answer + 1] = found(waiting) end
return answer
