#!lua flags=allow-oom
-- Writes a changed record with its indexes, events and log, unless somebody else has changed it meanwhile.
-- May pass the memory limit by a record's growth: what runs must be able to end, and ended records are what a purge frees.
-- ARGV  1 now  2 operation  3 id  4 the version the change was made on
--       5-9 state, run_at, expires_at, finished_at, '1' while outputs are stored
--       10 body  11 '1' to renew its words  12 a notice beside the usual ones, or ''
--       13 number of events, then kind and detail of each; then log lines, each as JSON
-- Returns 'done', 'taken' (another live job holds its unique key), '' (no such job),
--         or what is found when the version is another one: the caller applies its change to that.
-- Repeated: the operation is recognised as done while it is the job's last one.
local now, id = ARGV[1], ARGV[3]
local old = load(id)
if not old then return '' end
if old.v ~= ARGV[4] then return old.op == ARGV[2] and 'done' or found(id) end
local job = {}
for name, value in pairs(old) do job[name] = value end
job.st, job.ra, job.ex, job.fi, job.by = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
job.v, job.op = string.format('%d', old.v + 1), ARGV[2]
if old.st ~= job.st then
  if is_live(job) and not is_live(old) then
    if job.uk ~= '' and call('HEXISTS', P .. ':unique', job.uk) == 1 then return 'taken' end
    hold(id, job)
  end
  lift(id, old)
  place(id, job, now)
  if is_live(old) and not is_live(job) then let_go(id, old) end
elseif old.by == '1' and job.by == '' and not is_live(job) then
  call('ZREM', P .. ':bytes:' .. job.q, id)
end
if ARGV[11] == '1' then
  call('ZREM', P .. ':words', unpack(words(id, call('GET', P .. ':body:' .. id))))
  index(id, ARGV[10])
end
save(id, job)
call('SET', P .. ':body:' .. id, ARGV[10])
call('DEL', P .. ':run:' .. id)
local last = 13 + 2 * ARGV[13]
for at = 14, last, 2 do event(now, ARGV[at], id, job.q, ARGV[at + 1]) end
log(id, last + 1, #ARGV)
notice('job ' .. id)
if ARGV[12] ~= '' then notice(ARGV[12]) end
publish()
return 'done'
