#!lua flags=no-writes
-- Events of one job.
-- ARGV  1 job  2 after this number  3 how many
-- Returns entries of the stream, oldest first; those purged meanwhile are left out.
local answer, after, limit = {}, tonumber(ARGV[2]), tonumber(ARGV[3])
for _, number in ipairs(call('LRANGE', P .. ':told:' .. ARGV[1], 0, -1)) do
  if #answer == limit then break end
  if tonumber(number) > after then answer[#answer + 1] = call('XRANGE', P .. ':events', number .. '-0', number .. '-0')[1] end
end
return answer
