-- What every script shares: the keys of one instance, and what must move together.
--
-- KEYS[1] is the instance's prefix, as "{millrace}". Every key begins with it, so that all lie in one slot of a cluster:
--
-- :job:<id>      string  what scripts decide by, a line each. First what HEAD names: v version, op last operation, st state (0 queued,
--                        1 running, 2 succeeded, 3 failed, 4 cancelled), at attempt, le and tu the lease's facts and the queue's live
--                        settings then (since the last commit), rn 1 when :run:<id> is there, ev numbers of its events. Then what REST
--                        names: fm format, ex expires_at, pi pipeline and step, q queue, pr priority, ra run_at, cr created_at, fi
--                        finished_at, by 1 while published outputs are stored (of a job with a reuse key that follows a digit: 0, 1, or
--                        2 while equal ones can be answered from them), up upload, bo borrowed blob, uk unique key, fk fairness
--                        key as JSON, ow the token that sent it, wa ids of the jobs a queued one waits for. Absent values are empty. A
--                        hash of so many fields takes ten times as long.
-- :body:<id>     string  the words a search finds it by, a newline, the record as JSON as of the last commit
-- :run:<id>      hash    what renewals have brought since that commit: progress, media, output:<group>
-- :log:<id>      list    log lines as JSON          :told:<id>  string  numbers of the events of a job that was removed
-- :jobs:<st>:<q>, :form:<st>:<fm>:<q>  zset by created_at: every job that is not running is in one of each (the second, when it has a format)
-- :counts        hash    <st>:<q> -> number of jobs
-- :ready:<q>     zset by `order` below: jobs that have a turn      :delayed:<q>  zset by run_at: those that have none yet, and wait for no job
-- :expiry        zset by expires_at: queued jobs
-- :turns         hash    <pr>:<q> -> highest turn leased           :turns:<pr>:<q>  hash  fairness key -> last turn given
-- :starts        hash    queue -> last start under a rate limit, in microseconds
-- :waits:<id>    zset by created_at: jobs that wait for this one   :ends         zset by time: "<id> <st>", ends not told to all who waited
-- :leased        zset by the lease's end: running jobs, which are few
-- :ended:<q>     zset by finished_at     :bytes:<q>    the same, those whose outputs are stored
-- :made:<reuse key>  zset by finished_at: jobs that equal ones can be answered from
-- :equal:<reuse key>:<token>  zset by created_at: live jobs that wait for no other, which equal ones may follow
-- :words         zset, all scores 0: "<word> <id>" and "#<id>"
-- :unique, :borrowed, :using, :owned  hash  unique key -> job id; blob key, upload and token -> number of jobs: of live ones (queued or running)
-- :running       hash    token -> number of its jobs that run
-- :seq           number of the last event           :events     stream, entry <number>-0 has the events up to that number, a few at
--                        a time: each a value of five lines, when, kind, job, queue, detail
-- :idem:<key>    string  digest, newline, job id; kept for a day   :pipeline-key:<key>  the same, of a pipeline
-- :upload:<id>   string  expires_at, space, JSON    :uploads    zset by expires_at: those no live job uses
-- :pipeline:<id> string  version, last operation, st, created_at, finished_at (or '-') and the token that sent it (or '-') parted by blanks,
--                        a newline, its document
-- :pipelines, :pipelines:<st>  zset, all scores 0: their ids, which sort by age   :pipelines-ended  zset by finished_at
-- :pipelines:of:<token>, :pipelines:of:<token>:<st>  the same, of those that one token has sent
-- :jobs-of:<id>  zset, all scores 0: a pipeline's jobs             :steps:<id>    hash  "<st> <step>" -> number of jobs
-- :tunings, :schedules, :due  hash  by name: JSON, JSON, next fire     :paused  set of queues
-- :slots         hash    token -> how many of its jobs may run, of those that have a number
-- :tokens        hash    id -> JSON      :spent:<token>:<day>  string  bytes      :audit  zset, all scores 0: "<id> <JSON>"
-- :letter:<id>   hash    a how often it was taken, s state (0 pending, 1 delivered, 2 dead), q job, d the delivery as JSON, and the job
--                        (or pipeline) as it was: j as JSON, or of one that was leased, b body, f the lease's facts, t the queue's live settings
-- :outbox        zset by the time they are due: pending letters    :letters:<s>, :letters:of:<job>  zset, all scores 0: ids, which sort by time
-- :started       hash    id -> the letter to write when the job starts, without its id and time     :off  hash  URL -> since when
-- :workers       hash    id -> seen_at, space, JSON                :orders, :taken  hash  id -> an order; operation, space, the order it took
--
-- Times are milliseconds since 1970, as text. Each call costs a microsecond beside its work, so what many jobs need is read and written
-- together: what `save`, `write`, `add`, `take_out`, `count`, `event` and `notice` gather is written by `close`, with which every script ends
-- that has changed anything.
local P, call = KEYS[1], redis.call
-- Events live in memory: beside their age, their number is limited.
local EVENTS_MAX, EVENTS_TOGETHER, LOG_LINES_MAX, PROMOTED_MAX = 1000000, 20, 2000, 1000
local HEAD = '^(%d+)\n([^\n]*)\n(%d)\n(%d+)\n([^\n]*)\n([^\n]*)\n(1?)\n([^\n]*)\n(.*)$'
local REST = '^' .. string.rep('([^\n]*)\n', 14) .. '([^\n]*)$'
-- Values in one call: the stack of Lua has an end.
local VALUES_MAX = 1000

local news, heard, counted, stepped, started, events, lines, added, removed, written = {}, {}, {}, {}, {}, {}, {}, {}, {}, {}
-- The number of the last event before this script's own.
local last_event

-- Told to every process once the script is over.
local function notice(text)
  if not heard[text] then
    heard[text] = true
    news[#news + 1] = text
  end
end

local function count(st, queue, step)
  local name = st .. ':' .. queue
  counted[name] = (counted[name] or 0) + step
end

-- A job of a pipeline is counted there too, by its step.
local function count_step(pi, st, step)
  if pi == '' then return end
  local pipeline, name = string.match(pi, '^(%S+) (.*)$')
  local counts = stepped[pipeline] or {}
  stepped[pipeline] = counts
  counts[st .. ' ' .. name] = (counts[st .. ' ' .. name] or 0) + step
end

-- The turns of one queue and priority: the highest that was leased, and the last given to each key, as far as they were asked for.
local function line_of(queue, priority)
  local name = priority .. ':' .. queue
  if not lines[name] then lines[name] = {leased = tonumber(call('HGET', P .. ':turns', name) or 0), given = {}} end
  return lines[name], name
end

-- Its token has one more job that runs, or one less.
local function count_running(owner, step)
  if owner ~= '' then started[owner] = (started[owner] or 0) + step end
end

local function add(key, score, id)
  local pairs = added[key]
  if not pairs then
    added[key] = {score, id}
    return
  end
  local n = #pairs
  pairs[n + 1], pairs[n + 2] = score, id
end

local function take_out(key, id)
  local ids = removed[key]
  if not ids then
    removed[key] = {id}
    return
  end
  ids[#ids + 1] = id
end

local function write(key, text)
  local n = #written
  written[n + 1], written[n + 2] = P .. key, text
end

local function in_parts(values, write_part)
  for first = 1, #values, VALUES_MAX do write_part(unpack(values, first, math.min(first + VALUES_MAX - 1, #values))) end
end

local function all_of(command, gathered)
  for key, values in pairs(gathered) do
    in_parts(values, function(...) call(command, P .. key, ...) end)
    gathered[key] = nil
  end
end

-- Writes the indexes before something looks into them again.
local function flush()
  all_of('ZREM', removed)
  all_of('ZADD', added)
end

-- Tells of a change; returns its number, which stands with the job. It is given with the change, so a reader sees no gap.
local function event(at, kind, id, queue, detail)
  last_event = last_event or tonumber(call('GET', P .. ':seq') or 0)
  local n = #events + 1
  events[n] = at .. '\n' .. kind .. '\n' .. id .. '\n' .. queue .. '\n' .. detail
  if id ~= '' then notice('job ' .. id) end
  return string.format('%d', last_event + n)
end

-- The numbers of a job's events, with one more.
local function with_event(ev, number) return ev == '' and number or ev .. ' ' .. number end

local function close_events()
  call('INCRBY', P .. ':seq', #events)
  local oldest = string.format('%d', math.max(0, last_event + #events - EVENTS_MAX))
  for first = 1, #events, EVENTS_TOGETHER do
    local till, entry = math.min(first + EVENTS_TOGETHER - 1, #events), {}
    for i = first, till do entry[2 * (i - first) + 1], entry[2 * (i - first) + 2] = 'e', events[i] end
    call('XADD', P .. ':events', 'MINID', '~', oldest, string.format('%d-0', last_event + till), unpack(entry))
  end
end

-- Counts in a table in which nothing stands that is not used.
local function use(what, key, step)
  if key ~= '' and call('HINCRBY', P .. what, key, step) <= 0 then call('HDEL', P .. what, key) end
end

local function close()
  flush()
  if #events > 0 then close_events() end
  in_parts(written, function(...) call('MSET', ...) end)
  for name, step in pairs(counted) do
    if step ~= 0 then call('HINCRBY', P .. ':counts', name, step) end
  end
  for pipeline, counts in pairs(stepped) do
    for name, step in pairs(counts) do
      if step ~= 0 then call('HINCRBY', P .. ':steps:' .. pipeline, name, step) end
    end
  end
  for owner, step in pairs(started) do use(':running', owner, step) end
  for name, line in pairs(lines) do
    for key, turn in pairs(line.given) do call('HSET', P .. ':turns:' .. name, key, string.format('%.0f', turn)) end
    if line.is_leased then call('HSET', P .. ':turns', name, string.format('%.0f', line.leased)) end
  end
  if #news > 0 then call('PUBLISH', P .. ':notices', table.concat(news, '\n')) end
end

-- What REST names.
local function read_rest(rest)
  local fm, ex, pi, q, pr, ra, cr, fi, by, up, bo, uk, fk, ow, wa = string.match(rest, REST)
  return {fm = fm, ex = ex, pi = pi, q = q, pr = pr, ra = ra, cr = cr, fi = fi, by = by, up = up, bo = bo, uk = uk, fk = fk, ow = ow, wa = wa}
end

local function read(text)
  local v, op, st, at, le, tu, rn, ev, rest = string.match(text, HEAD)
  local job = read_rest(rest)
  job.v, job.op, job.st, job.at, job.le, job.tu, job.rn, job.ev, job.rest = v, op, st, at, le, tu, rn, ev, rest
  return job
end

local function load(id)
  local text = call('GET', P .. ':job:' .. id)
  return text and read(text)
end

local function save(id, v, op, st, at, le, tu, rn, ev, rest)
  write(':job:' .. id, v .. '\n' .. op .. '\n' .. st .. '\n' .. at .. '\n' .. le .. '\n' .. tu .. '\n' .. rn .. '\n' .. ev .. '\n' .. rest)
end

-- The last line of a job's text is what it waits for.
local function with_waiting(rest, wa) return string.match(rest, '^.*\n') .. wa end

-- What a reader needs: version, body, facts and settings of a lease since, what a queued job waits for, what renewals have brought.
local function found(id, job)
  job = job or load(id)
  if not job then return false end
  local run = job.rn == '1' and call('HGETALL', P .. ':run:' .. id) or {}
  return {job.v, call('GET', P .. ':body:' .. id), job.le, job.tu, job.st == '0' and job.wa, run}
end

-- Is it what a search wants? What is '' is not asked for.
local function fits(job, wanted, pipeline, step, since, till)
  for name, value in pairs(wanted) do
    if value ~= '' and job[name] ~= value then return false end
  end
  local of, name = string.match(job.pi, '^(%S+) (.*)$')
  return (pipeline == '' or of == pipeline) and (step == '' or name == step)
    and (since == '' or tonumber(job.cr) >= tonumber(since)) and (till == '' or tonumber(job.cr) < tonumber(till))
end

-- Calls a command with one key of each job.
local function for_all(command, kind, ids)
  local keys = {}
  for i, id in ipairs(ids) do keys[i] = P .. kind .. id end
  return call(command, unpack(keys))
end

-- The place of a job among those that are ready: the least is taken first. Priority 9 to 0, then turn; fits a double.
local function order(priority, turn) return string.format('%.0f', (9 - priority) * 1e13 + turn) end

-- Lets a job that is due stand in line: one turn after the last that its key was given, and after the last that was leased.
local function stand_in_line(id, job)
  local line, name = line_of(job.q, job.pr)
  local given = line.given[job.fk] or tonumber(call('HGET', P .. ':turns:' .. name, job.fk) or 0)
  local turn = math.max(line.leased, given) + 1
  line.given[job.fk] = turn
  add(':ready:' .. job.q, order(job.pr, turn), id)
end

-- Gives turns to those that have become due; true: none is left over.
local function promote(queue, now)
  local due = call('ZRANGEBYSCORE', P .. ':delayed:' .. queue, '-inf', now, 'LIMIT', 0, PROMOTED_MAX)
  for _, id in ipairs(due) do
    take_out(':delayed:' .. queue, id)
    stand_in_line(id, load(id))
  end
  if #due > 0 then flush() end
  return #due < PROMOTED_MAX
end

local function is_live(st) return st == '0' or st == '1' end

-- A live job holds its unique key, its upload and the blob it borrows.
local function hold(id, job)
  if job.uk ~= '' then call('HSET', P .. ':unique', job.uk, id) end
  use(':borrowed', job.bo, 1)
  use(':using', job.up, 1)
  use(':owned', job.ow, 1)
  if job.up ~= '' then call('ZREM', P .. ':uploads', job.up) end
end

local function let_go(id, job)
  if job.uk ~= '' and call('HGET', P .. ':unique', job.uk) == id then call('HDEL', P .. ':unique', job.uk) end
  use(':borrowed', job.bo, -1)
  use(':using', job.up, -1)
  use(':owned', job.ow, -1)
  local upload = job.up ~= '' and call('HEXISTS', P .. ':using', job.up) == 0 and call('GET', P .. ':upload:' .. job.up)
  if upload then call('ZADD', P .. ':uploads', string.match(upload, '^%S+'), job.up) end
end

-- Enters an ended job with a reuse key into the indexes of what is kept, or takes it out of them.
local function place_kept(id, job)
  local kept, key = string.match(job.by, '^(%d)(.+)$')
  if kept ~= '0' then add(':bytes:' .. job.q, job.fi, id) end
  if kept == '2' then add(':made:' .. key, job.fi, id) end
end

local function lift_kept(id, job)
  take_out(':bytes:' .. job.q, id)
  take_out(':made:' .. string.sub(job.by, 2), id)
end

-- Of live jobs with a reuse key those may be followed that wait for no other.
local function equals_of(job) return P .. ':equal:' .. string.sub(job.by, 2) .. ':' .. job.ow end

local function lead(id, job)
  if is_live(job.st) and job.wa == '' then
    call('ZADD', equals_of(job), job.cr, id)
  else
    call('ZREM', equals_of(job), id)
  end
end

-- Enters a job into every index of its state. A queued one has no turn yet, unless it `has_turn`.
local function place(id, job, lease_until, has_turn)
  count(job.st, job.q, 1)
  count_step(job.pi, job.st, 1)
  if job.st == '1' then
    count_running(job.ow, 1)
    return add(':leased', lease_until, id)
  end
  add(':jobs:' .. job.st .. ':' .. job.q, job.cr, id)
  if job.fm ~= '' then add(':form:' .. job.st .. ':' .. job.fm .. ':' .. job.q, job.cr, id) end
  if job.st == '0' then
    if has_turn then
      stand_in_line(id, job)
    elseif job.wa == '' then
      add(':delayed:' .. job.q, job.ra, id)
    end
    if job.ex ~= '' then add(':expiry', job.ex, id) end
    notice('ready ' .. job.q)
  else
    add(':ended:' .. job.q, job.fi, id)
    if job.by == '1' then add(':bytes:' .. job.q, job.fi, id) elseif job.by ~= '' then place_kept(id, job) end
    if job.pi ~= '' then notice('pipeline ' .. string.match(job.pi, '^%S+')) end
  end
end

-- Takes a job out of every index of its state.
local function lift(id, job)
  count(job.st, job.q, -1)
  count_step(job.pi, job.st, -1)
  if job.st == '1' then
    count_running(job.ow, -1)
    return take_out(':leased', id)
  end
  take_out(':jobs:' .. job.st .. ':' .. job.q, id)
  if job.fm ~= '' then take_out(':form:' .. job.st .. ':' .. job.fm .. ':' .. job.q, id) end
  if job.st == '0' then
    take_out(':ready:' .. job.q, id)
    if job.wa == '' and not job.has_turn then take_out(':delayed:' .. job.q, id) end
    for other in string.gmatch(job.wa, '%S+') do call('ZREM', P .. ':waits:' .. other, id) end
    if job.ex ~= '' then take_out(':expiry', id) end
  else
    take_out(':ended:' .. job.q, id)
    if job.by == '1' then take_out(':bytes:' .. job.q, id) elseif job.by ~= '' then lift_kept(id, job) end
  end
end

-- Notes an end, for those who waited for it to be told; true when there are any.
local function note_end(id, st, at)
  if call('EXISTS', P .. ':waits:' .. id) == 0 then return false end
  for _, other in ipairs({'2', '3', '4'}) do call('ZREM', P .. ':ends', id .. ' ' .. other) end
  call('ZADD', P .. ':ends', at, id .. ' ' .. st)
  return true
end

-- Lets a job wait for those of a list that have not succeeded; a reader finds them beside the record. Those that have ended
-- otherwise are noted, so that it is told.
local function wait_for(id, job, list, now)
  local left = {}
  for other in string.gmatch(list, '%S+') do
    local dependency = load(other)
    if not dependency or dependency.st ~= '2' then
      left[#left + 1] = other
      call('ZADD', P .. ':waits:' .. other, job.cr, id)
      if dependency and not is_live(dependency.st) then note_end(other, dependency.st, now) end
    end
  end
  job.wa = table.concat(left, ' ')
end

-- The words of a body, as members of :words.
local function words(id, body)
  local members = {'#' .. id}
  for word in string.gmatch(string.match(body, '^[^\n]*'), '%S+') do members[#members + 1] = word .. ' ' .. id end
  return members
end

local function index(id, body)
  for _, member in ipairs(words(id, body)) do add(':words', 0, member) end
end

-- Writes a letter with the fields given.
local function post(letter, due, job, ...)
  call('HSET', P .. ':letter:' .. letter, 'a', '0', 's', '0', 'q', job, ...)
  add(':outbox', due, letter)
  add(':letters:0', 0, letter)
  add(':letters:of:' .. job, 0, letter)
  notice('delivery due')
end

-- Writes the letters that ARGV[at] counts.
local function post_all(job, due, at)
  for i = at + 1, at + 3 * ARGV[at], 3 do post(ARGV[i], due, job, 'd', ARGV[i + 1], 'j', ARGV[i + 2]) end
end

local STATES = {['1'] = 'running', ['2'] = 'succeeded', ['3'] = 'failed', ['4'] = 'cancelled'}

-- The lists that a pipeline is in, by how its text begins; each has one more for each state.
local function lists_of(head)
  local owner = string.match(head, '^%d+ %S+ %d %d+ %S+ (%S+)$')
  return {':pipelines', owner and owner ~= '-' and ':pipelines:of:' .. owner or nil}
end

-- Writes a pipeline's next version; `before` is how its text began until now, or ''.
local function put_pipeline(id, before, head, document, now)
  local old = string.match(before, '^%d+ %S+ (%d)')
  local st, ended = string.match(head, '^%d+ %S+ (%d) %d+ (%S+)')
  call('SET', P .. ':pipeline:' .. id, head .. '\n' .. document)
  if old ~= st then
    for _, list in ipairs(lists_of(head)) do
      if old then call('ZREM', P .. list .. ':' .. old, id) end
      for _, key in ipairs({list, list .. ':' .. st}) do call('ZADD', P .. key, 0, id) end
    end
    call('ZREM', P .. ':pipelines-ended', id)
    if ended ~= '-' then call('ZADD', P .. ':pipelines-ended', ended, id) end
    event(now, 'pipeline', '', '', '{"pipeline":"' .. id .. '","state":"' .. STATES[st] .. '"}')
  end
  notice('pipeline ' .. id)
end

-- Notes the letter to write when a job starts.
local function watch(id, letter)
  if letter == '-' then call('HDEL', P .. ':started', id) elseif letter ~= '' then call('HSET', P .. ':started', id, letter) end
end

-- Appends ARGV[first] to ARGV[last]; what is past the cap is dropped.
local function log(id, first, last)
  if last < first then return end
  local key = P .. ':log:' .. id
  local length = call('RPUSH', key, unpack(ARGV, first, math.min(last, first + LOG_LINES_MAX - 1)))
  if length > LOG_LINES_MAX then call('LTRIM', key, 0, LOG_LINES_MAX - 1) end
end
