#!lua
-- Inserts queued jobs, all or none; for a schedule that fires or a pipeline that goes on only if nobody else was faster.
-- ARGV  1 now
--       2 'schedule', 'pipeline' or '' for neither, 3 its name
--       4-6 of a schedule: the fire it expects, the next one, its JSON; of a pipeline: the version it expects (0: none is there),
--       how :pipeline:<id> begins from now on, its document
--       7 number of letters that the pipeline writes, id, JSON and what it tells of each
--       then per job: id, attempt, what REST names (wa: the ids of all it waits for), body, detail of its event, idempotency key,
--       digest of the request, what to write when it starts, number of letters, id, JSON and job of each
-- Returns 'missing' (no such schedule), 'late' (somebody else was faster), 'mismatch' (the key came with another request),
--         'unknown <id>' (no such job to wait for),
--         or a list: per job '' when it is new, the id of the equal job it follows when it does, else what is found of the job it stands for.
-- Repeated: jobs that are there under their own id were inserted by the first try, and are answered as new.
local FIRST, KEPT_S = 8 + 3 * ARGV[7], 86400
local now, kind, name = ARGV[1], ARGV[2], ARGV[3]
local jobs, id_of, twin, keys, unique, new, leader = {}, {}, {}, {}, {}, {}, {}
local places, total, next_at = {}, 0, FIRST
while next_at <= #ARGV do
  total = total + 1
  places[total] = next_at - 1
  next_at = next_at + 9 + 3 * ARGV[next_at + 8]
end
local function exists(id) return call('EXISTS', P .. ':job:' .. id) == 1 end

local pipeline, is_repeated
if kind == 'schedule' then
  local due = call('HGET', P .. ':due', name)
  if not due then return 'missing' end
  if due ~= ARGV[4] and not (total > 0 and exists(ARGV[FIRST])) then return 'late' end
elseif kind == 'pipeline' then
  pipeline = string.match(call('GET', P .. ':pipeline:' .. name) or '', '^[^\n]*')
  is_repeated = pipeline == ARGV[5]
  if not is_repeated and (string.match(pipeline, '^%d+') or '0') ~= ARGV[4] then return 'late' end
end
for n = 1, total do
  local at = places[n]
  local id, key, digest = ARGV[at + 1], ARGV[at + 6], ARGV[at + 7]
  jobs[n] = read_rest(ARGV[at + 3])
  local unique_key = jobs[n].uk
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
  if not stands_for then
    for other in string.gmatch(jobs[n].wa, '%S+') do
      if not new[other] and not exists(other) then return 'unknown ' .. other end
    end
    new[id] = true
  end
end
if kind == 'schedule' then
  call('HSET', P .. ':due', name, ARGV[5])
  call('HSET', P .. ':schedules', name, ARGV[6])
elseif kind == 'pipeline' and not is_repeated then
  put_pipeline(name, pipeline, ARGV[5], ARGV[6], now)
  post_all(name, now, 7)
end
for key, value in pairs(keys) do call('SET', P .. ':idem:' .. key, value, 'EX', KEPT_S) end
-- In queues of which nothing is left that came due earlier, a job that is due gets its turn at once.
local is_promoted = {}
local function has_turn(job)
  if job.wa ~= '' or tonumber(job.ra) > tonumber(now) then return false end
  if is_promoted[job.q] == nil then is_promoted[job.q] = promote(job.q, now) end
  return is_promoted[job.q]
end
-- The equal job in flight that one which would be due follows; see store/reuse.rs.
local placed = {}
local function leader_of(job)
  if job.wa ~= '' or tonumber(job.ra) > tonumber(now) then return end
  for _, id in ipairs(call('ZRANGE', equals_of(job), 0, -1)) do
    local other = placed[id] or load(id)
    local is_due = tonumber(other.ra) <= math.max(tonumber(now), tonumber(other.cr))
    local is_sooner = is_due and tonumber(other.pr) >= tonumber(job.pr) and other.fk == job.fk
    if other.st == '1' or is_sooner then return id end
  end
end
for n = 1, total do
  if twin[n] == '' then
    local at, job = places[n], jobs[n]
    local id, rest, body = ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]
    job.st = '0'
    if job.wa ~= '' then
      wait_for(id, job, job.wa, now)
      rest = with_waiting(rest, job.wa)
    end
    if #job.by > 1 then
      leader[n] = leader_of(job)
      if leader[n] then
        call('ZADD', P .. ':waits:' .. leader[n], job.cr, id)
        job.wa, rest = leader[n], with_waiting(rest, leader[n])
      end
      placed[id] = job
      lead(id, job)
    end
    save(id, '1', '', '0', ARGV[at + 2], '', '', '', event(now, 'queued', id, job.q, ARGV[at + 5]), rest)
    write(':body:' .. id, body)
    place(id, job, nil, has_turn(job))
    hold(id, job)
    if job.pi ~= '' then add(':jobs-of:' .. string.match(job.pi, '^%S+'), 0, id) end
    index(id, body)
    watch(id, ARGV[at + 8])
    post_all(id, now, at + 9)
  end
end
local answer = {}
for n = 1, total do answer[n] = twin[n] ~= '' and twin[n] ~= id_of[n] and found(twin[n]) or leader[n] or '' end
close()
return answer
