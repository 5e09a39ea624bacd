#!lua
-- Replaces a queue's live settings, unless somebody else has changed them meanwhile.
-- ARGV  1 now  2 queue  3 the settings its caller has read, or ''  4 the new ones, as JSON  5 '1' when paused
-- Returns 'done', or the settings of somebody else.
local now, queue = ARGV[1], ARGV[2]
local known = call('HGET', P .. ':tunings', queue) or ''
if known ~= ARGV[3] then return known end
call('HSET', P .. ':tunings', queue, ARGV[4])
call(ARGV[5] == '1' and 'SADD' or 'SREM', P .. ':paused', queue)
event(now, 'queue', '', queue, ARGV[4])
notice('tuning ' .. queue)
close()
return 'done'
