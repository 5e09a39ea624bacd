#!lua
-- Gives a worker an order instead of one it has not taken yet.
-- ARGV  1 who spoke then, or before, is gone  2 id  3 the order as JSON
-- Returns what the worker said of itself, or '' when it is not there.
local seen_at, presence = string.match(call('HGET', P .. ':workers', ARGV[2]) or '', '^(%-?%d+) (.*)$')
if not seen_at or tonumber(seen_at) <= tonumber(ARGV[1]) then return '' end
call('HSET', P .. ':orders', ARGV[2], ARGV[3])
notice('worker ' .. ARGV[2])
close()
return presence
