#!lua flags=allow-oom
-- Writes changed records with their indexes, events and logs, each unless somebody else has changed it meanwhile.
-- May pass the memory limit by the records' growth: what runs must be able to end, and ended records are what a purge frees.
-- ARGV  1 now  2 operation
--       then per record (at most 1,000): id, the version the change was made on, state, attempt, what REST names (wa: the ids of all it
--       waits for), body, '1' to renew its words, a notice beside the usual ones or '', number of events, kind and detail of each,
--       number of log lines, each as JSON, what to write when it starts ('-': forget that), number of letters, id, JSON and job of each
-- Returns per record 'done', 'ended' (done, and jobs that waited for this one are to be told), 'taken' (another live job holds its
--         unique key), 'unknown <id>' (no such job to wait for), '' (no such job),
--         or what is found when the version is another one: the caller applies its change to that.
-- Repeated: the operation is recognised as done while it is the job's last one.
local now, operation = ARGV[1], ARGV[2]

local ids, places, at = {}, {}, 3
while at <= #ARGV do
  ids[#ids + 1], places[#places + 1] = ARGV[at], at
  at = at + 8
  at = at + 1 + 2 * ARGV[at]
  at = at + 1 + ARGV[at]
  at = at + 2 + 3 * ARGV[at + 1]
end
local texts = for_all('MGET', ':job:', ids)
local is_awaited = for_all('EXISTS', ':waits:', ids) > 0

-- What it takes of the text as it was: version, last operation, state, whether :run:<id> is there, events.
local OLD = '^(%d+)\n([^\n]*)\n(%d)\n%d+\n[^\n]*\n[^\n]*\n(1?)\n([^\n]*)\n'

-- Moves a record between the indexes; returns what is in the way.
local function move(id, old, job)
  if is_live(job.st) and not is_live(old.st) then
    if job.uk ~= '' and call('HEXISTS', P .. ':unique', job.uk) == 1 then return 'taken' end
    hold(id, job)
  end
  lift(id, old)
  if job.wa ~= '' then
    wait_for(id, job, job.wa, now)
    job.rest = with_waiting(job.rest, job.wa)
    is_awaited = true
  end
  place(id, job)
  if #job.by > 1 then lead(id, job) end
  if is_live(old.st) and not is_live(job.st) then let_go(id, job) end
end

local function commit(text, id, at)
  if not text then return '' end
  local v, op, st, run, ev = string.match(text, OLD)
  if v ~= ARGV[at + 1] then return op == operation and 'done' or found(id, read(text)) end
  local job = read_rest(ARGV[at + 4])
  job.st, job.rest = ARGV[at + 2], ARGV[at + 4]
  local waited = job.wa
  -- A running job is in one index, by its id: there is nothing else of the old one to know.
  local old = st == '1' and {st = st, q = job.q, pi = job.pi, ow = job.ow} or read(text)
  if st ~= '0' and waited ~= '' then
    for other in string.gmatch(waited, '%S+') do
      if call('EXISTS', P .. ':job:' .. other) == 0 then return 'unknown ' .. other end
    end
  end
  local answer = 'done'
  if st ~= job.st or (st == '0' and old.wa ~= waited) then
    local hindrance = move(id, old, job)
    if hindrance then return hindrance end
    if is_awaited and not is_live(job.st) and note_end(id, job.st, now) then answer = 'ended' end
  elseif old.by and old.by ~= job.by and not is_live(st) then
    if old.by == '1' then take_out(':bytes:' .. job.q, id) else lift_kept(id, old) end
    if #job.by > 1 then place_kept(id, job) end
  end
  if ARGV[at + 6] == '1' then
    for _, member in ipairs(words(id, call('GET', P .. ':body:' .. id))) do take_out(':words', member) end
    index(id, ARGV[at + 5])
  end
  if run == '1' then call('DEL', P .. ':run:' .. id) end
  local lines_at = at + 9 + 2 * ARGV[at + 8]
  for i = at + 9, lines_at - 1, 2 do ev = with_event(ev, event(now, ARGV[i], id, job.q, ARGV[i + 1])) end
  save(id, string.format('%d', v + 1), operation, job.st, ARGV[at + 3], '', '', '', ev, job.rest)
  write(':body:' .. id, ARGV[at + 5])
  log(id, lines_at + 1, lines_at + ARGV[lines_at])
  watch(id, ARGV[lines_at + ARGV[lines_at] + 1])
  post_all(id, now, lines_at + ARGV[lines_at] + 2)
  if ARGV[at + 8] == '0' then notice('job ' .. id) end
  if ARGV[at + 7] ~= '' then notice(ARGV[at + 7]) end
  return answer
end

local answers = {}
for i, id in ipairs(ids) do answers[i] = commit(texts[i], id, places[i]) end
close()
return answers
