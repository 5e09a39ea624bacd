#!lua flags=no-writes
-- Events of one job.
-- ARGV  1 job  2 after this number  3 how many
-- Returns number and text of each, oldest first; those purged meanwhile are left out.
local answer, after, limit = {}, tonumber(ARGV[2]), tonumber(ARGV[3])
local job = load(ARGV[1])
for number in string.gmatch(job and job.ev or call('GET', P .. ':told:' .. ARGV[1]) or '', '%d+') do
  if #answer == limit then break end
  if tonumber(number) > after then
    local entry = call('XRANGE', P .. ':events', number .. '-0', '+', 'COUNT', 1)[1]
    -- Every second value is an event; the last one has the entry's number.
    local at = entry and #entry[2] - 2 * (tonumber(string.match(entry[1], '^%d+')) - tonumber(number)) or 0
    if at > 0 then answer[#answer + 1] = {number, entry[2][at]} end
  end
end
return answer
