#!lua
-- Extends leases and keeps what is new beside the record.
-- ARGV  1 the leases' new end  2 operation
--       then per lease: id, attempt, the version its holder knows, number of facts, name and JSON of each, number of log lines, each as JSON
-- Returns per lease: '' when it is lost, the new version when the holder's was the last one, else what is found.
-- Repeated: nothing is added a second time.
local answer, at = {}, 3
while at <= #ARGV do
  local id, attempt, version, facts = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local first_fact = at + 4
  local lines = tonumber(ARGV[first_fact + 2 * facts])
  local first_line = first_fact + 2 * facts + 1
  at = first_line + lines
  local known = call('HMGET', P .. ':job:' .. id, 'st', 'at', 'v', 'op')
  if known[1] ~= '1' or known[2] ~= attempt then
    answer[#answer + 1] = ''
  elseif known[4] == ARGV[2] then
    answer[#answer + 1] = found(id)
  else
    local next_version = string.format('%d', known[3] + 1)
    call('HSET', P .. ':job:' .. id, 'v', next_version, 'op', ARGV[2])
    call('ZADD', P .. ':leased', ARGV[1], id)
    if facts > 0 then call('HSET', P .. ':run:' .. id, unpack(ARGV, first_fact, first_fact + 2 * facts - 1)) end
    log(id, first_line, first_line + lines - 1)
    if facts + lines > 0 then notice('job ' .. id) end
    answer[#answer + 1] = known[3] == version and next_version or found(id)
  end
end
publish()
return answer
