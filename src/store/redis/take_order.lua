#!lua flags=allow-oom
-- Takes away the order that a worker was given.
-- ARGV  1 id  2 operation
-- Returns the order as JSON, or ''.
-- Repeated: the order that the first try took is given again.
local operation, taken = string.match(call('HGET', P .. ':taken', ARGV[1]) or '', '^(%S+) (.*)$')
if operation == ARGV[2] then return taken end
local order = call('HGET', P .. ':orders', ARGV[1])
if not order then return '' end
call('HDEL', P .. ':orders', ARGV[1])
call('HSET', P .. ':taken', ARGV[1], ARGV[2] .. ' ' .. order)
return order
