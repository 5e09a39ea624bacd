#!lua
-- Extends leases and keeps what is new beside the record.
-- ARGV  1 the leases' new end  2 operation  3 now
--       then per lease: id, attempt, the version its holder knows, number of facts, name and JSON of each, number of log lines, each as
--       JSON, number of letters, id, JSON and job of each
-- Returns per lease: '' when it is lost, the new version when the holder's was the last one, else what is found.
-- Repeated: nothing is added a second time.
local answer, at = {}, 4
while at <= #ARGV do
  local id, attempt, version, facts = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local first_fact = at + 4
  local lines = tonumber(ARGV[first_fact + 2 * facts])
  local first_line = first_fact + 2 * facts + 1
  local letters_at = first_line + lines
  at = letters_at + 1 + 3 * ARGV[letters_at]
  local job = load(id)
  if not job or job.st ~= '1' or job.at ~= attempt then
    answer[#answer + 1] = ''
  elseif job.op == ARGV[2] then
    answer[#answer + 1] = found(id, job)
  else
    local is_known = job.v == version
    job.v, job.op, job.rn = string.format('%d', job.v + 1), ARGV[2], facts > 0 and '1' or job.rn
    save(id, job.v, job.op, job.st, job.at, job.le, job.tu, job.rn, job.ev, job.rest)
    add(':leased', ARGV[1], id)
    if facts > 0 then call('HSET', P .. ':run:' .. id, unpack(ARGV, first_fact, first_fact + 2 * facts - 1)) end
    log(id, first_line, first_line + lines - 1)
    post_all(id, ARGV[3], letters_at)
    if facts + lines > 0 then notice('job ' .. id) end
    answer[#answer + 1] = is_known and job.v or found(id, job)
  end
end
close()
return answer
