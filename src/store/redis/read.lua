#!lua flags=no-writes
-- Reads jobs by id.
-- ARGV  ids
-- Returns per id what is found, or nil.
local answer = {}
for i, id in ipairs(ARGV) do answer[i] = found(id) end
return answer
