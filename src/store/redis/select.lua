#!lua flags=no-writes
-- Reads the first jobs of one index.
-- ARGV  1 the index without its prefix, as ':leased'  2 below this score ('+inf' for all)  3 how many
-- Returns what is found of each, by rising score.
local answer = {}
local below = ARGV[2] == '+inf' and ARGV[2] or '(' .. ARGV[2]
for _, id in ipairs(call('ZRANGEBYSCORE', P .. ARGV[1], '-inf', below, 'LIMIT', 0, ARGV[3])) do answer[#answer + 1] = found(id) end
return answer
