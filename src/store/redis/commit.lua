#!lua flags=allow-oom
-- Writes changed records with their indexes, events and logs, each unless somebody else has changed it meanwhile.
-- May pass the memory limit by the records' growth: what runs must be able to end, and ended records are what a purge frees.
-- ARGV  1 now  2 operation
--       then per record: id, the version the change was made on, its new FIELDS (wa: the ids of all it waits for), body, '1' to renew
--       its words, a notice beside the usual ones or '', number of events, kind and detail of each, number of log lines, each as JSON
-- Returns per record 'done', 'ended' (done, and jobs that waited for this one are to be told), 'taken' (another live job holds its
--         unique key), 'unknown <id>' (no such job to wait for), '' (no such job),
--         or what is found when the version is another one: the caller applies its change to that.
-- Repeated: the operation is recognised as done while it is the job's last one.
local now, operation = ARGV[1], ARGV[2]

-- Moves a record between the indexes; returns what is in the way.
local function move(id, old, job)
  if is_live(job.st) and not is_live(old.st) then
    if job.uk ~= '' and call('HEXISTS', P .. ':unique', job.uk) == 1 then return 'taken' end
    hold(id, job)
  end
  lift(id, old)
  if job.st == '0' then wait_for(id, job, job.wa, now) end
  place(id, job)
  if is_live(old.st) and not is_live(job.st) then let_go(id, job) end
end

local function commit(id, version, at)
  local text = call('GET', P .. ':job:' .. id)
  if not text then return '' end
  local v, op, st, run = string.match(text, '^(%d+)\n([^\n]*)\n(%d)\n%d+\n[^\n]*\n[^\n]*\n(1?)\n')
  if v ~= version then return op == operation and 'done' or found(id, read(text)) end
  local job = {}
  for i, name in ipairs(FIELDS) do job[name] = ARGV[at + i] end
  local waited = job.wa
  at = at + #FIELDS + 1
  -- A running job is in one index, by its id: there is nothing else of the old one to know.
  local old = st == '1' and {st = st, q = job.q} or read(text)
  if st ~= '0' and job.st == '0' then
    for other in string.gmatch(waited, '%S+') do
      if call('EXISTS', P .. ':job:' .. other) == 0 then return 'unknown ' .. other end
    end
  end
  local answer = 'done'
  if st ~= job.st or (st == '0' and old.wa ~= waited) then
    local hindrance = move(id, old, job)
    if hindrance then return hindrance end
    if not is_live(job.st) and note_end(id, job.st, now) then answer = 'ended' end
  elseif old.by == '1' and job.by == '' and not is_live(st) then
    call('ZREM', P .. ':bytes:' .. job.q, id)
  end
  if ARGV[at + 1] == '1' then
    call('ZREM', P .. ':words', unpack(words(id, call('GET', P .. ':body:' .. id))))
    index(id, ARGV[at])
  end
  if run == '1' then call('DEL', P .. ':run:' .. id) end
  save(id, job)
  call('SET', P .. ':body:' .. id, ARGV[at])
  local told = tonumber(ARGV[at + 3])
  local lines_at = at + 4 + 2 * told
  for i = at + 4, lines_at - 1, 2 do event(now, ARGV[i], id, job.q, ARGV[i + 1]) end
  log(id, lines_at + 1, lines_at + ARGV[lines_at])
  notice('job ' .. id)
  if ARGV[at + 2] ~= '' then notice(ARGV[at + 2]) end
  return answer
end

local answers, at = {}, 3
while at <= #ARGV do
  answers[#answers + 1] = commit(ARGV[at], ARGV[at + 1], at + 1)
  at = at + 5 + #FIELDS
  at = at + 1 + 2 * ARGV[at]
  at = at + 1 + ARGV[at]
end
close()
return answers
