#!lua
-- Inserts queued jobs, all or none; for a schedule that fires, only if nobody else has fired it.
-- ARGV  1 now
--       2-5 schedule ('' for none), the fire it expects, the next one, the schedule as JSON
--       then per job: id, queue, attempt, priority, run_at, created_at, expires_at, format, unique key, upload, borrowed blob, body,
--       detail of its event, idempotency key, digest of the request
-- Returns 'missing' (no such schedule), 'fired' (by somebody else), 'mismatch' (the key came with another request),
--         or a list: per job '' when it is new, else what is found of the job it stands for.
-- Repeated: jobs that are there under their own id were inserted by the first try, and are answered as new.
local WIDTH, FIRST, KEPT_S = 15, 5, 86400
local now, schedule = ARGV[1], ARGV[2]
local id_of, twin, keys, unique = {}, {}, {}, {}
local count = (#ARGV - FIRST) / WIDTH
local function exists(id) return call('EXISTS', P .. ':job:' .. id) == 1 end

if schedule ~= '' then
  local due = call('HGET', P .. ':due', schedule)
  if not due then return 'missing' end
  if due ~= ARGV[3] and not exists(ARGV[FIRST + 1]) then return 'fired' end
end
for n = 1, count do
  local at = FIRST + (n - 1) * WIDTH
  local id, unique_key, key, digest = ARGV[at + 1], ARGV[at + 9], ARGV[at + 14], ARGV[at + 15]
  local stands_for, remembered
  if key ~= '' then
    local known = keys[key] or call('GET', P .. ':idem:' .. key)
    local known_digest, job = string.match(known or '', '^(.*)\n(.*)$')
    -- A key whose job was removed stands for nothing any more.
    if job and (keys[key] or exists(job)) then
      if known_digest ~= digest then return 'mismatch' end
      stands_for, remembered = job, true
    end
  end
  if not stands_for and unique_key ~= '' then stands_for = unique[unique_key] or call('HGET', P .. ':unique', unique_key) end
  if exists(id) then stands_for = id end
  id_of[n], twin[n] = id, stands_for or ''
  if key ~= '' and not remembered then keys[key] = digest .. '\n' .. (stands_for or id) end
  if unique_key ~= '' then unique[unique_key] = stands_for or id end
end
if schedule ~= '' then
  call('HSET', P .. ':due', schedule, ARGV[4])
  call('HSET', P .. ':schedules', schedule, ARGV[5])
end
for key, value in pairs(keys) do call('SET', P .. ':idem:' .. key, value, 'EX', KEPT_S) end
for n = 1, count do
  if twin[n] == '' then
    local at = FIRST + (n - 1) * WIDTH
    local id, body = ARGV[at + 1], ARGV[at + 12]
    local job = {q = ARGV[at + 2], st = '0', at = ARGV[at + 3], v = '1', pr = ARGV[at + 4], ra = ARGV[at + 5], cr = ARGV[at + 6], ex = ARGV[at + 7],
      fi = '', fm = ARGV[at + 8], uk = ARGV[at + 9], up = ARGV[at + 10], bo = ARGV[at + 11], by = '', op = ''}
    save(id, job)
    call('SET', P .. ':body:' .. id, body)
    place(id, job, now)
    hold(id, job)
    index(id, body)
    event(now, 'queued', id, job.q, ARGV[at + 13])
  end
end
local answer = {}
for n = 1, count do answer[n] = twin[n] ~= '' and twin[n] ~= id_of[n] and found(twin[n]) or '' end
publish()
return answer
