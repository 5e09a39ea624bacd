#!lua flags=no-writes
-- The job that ended last of those that equal ones can be answered from.
-- ARGV  1 reuse key
-- Returns what is found, or nil.
local id = call('ZREVRANGE', P .. ':made:' .. ARGV[1], 0, 0)[1]
return id and found(id) or false
