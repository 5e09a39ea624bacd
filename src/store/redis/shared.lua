-- What every script shares: the keys of one instance, and what must move together.
--
-- KEYS[1] is the instance's prefix, as "{millrace}". Every key begins with it, so that all lie in one slot of a cluster:
--
-- :job:<id>      hash    what scripts decide by: q queue, st state (0 queued, 1 running, 2 succeeded, 3 failed, 4 cancelled), at attempt,
--                        v version, pr priority, ra run_at, cr created_at, ex expires_at, fi finished_at, fm format, uk unique key,
--                        up upload, bo borrowed blob, by 1 while published outputs are stored, op the last operation.
--                        Absent values are empty; small, so that it stays a listpack.
-- :body:<id>     string  the words a search finds it by, a newline, the record as JSON as of the last commit
-- :run:<id>      hash    what has happened since that commit: lease, tuning, progress, media, output:<group>
-- :log:<id>      list    log lines as JSON          :told:<id>  list  numbers of its events
-- :jobs:<st>:<q>, :form:<st>:<fm>:<q>  zset by created_at: every job is in one of each (the second, when it has a format)
-- :counts        hash    <st>:<q> -> number of jobs
-- :ready:<q>     zset by `order` below   :delayed:<q>  zset by run_at   :expiry  zset by expires_at: queued jobs
-- :leased        zset by the lease's end: running jobs
-- :ended:<q>     zset by finished_at     :bytes:<q>    the same, those whose outputs are stored
-- :words         zset, all scores 0: "<word> <id>" and "#<id>"
-- :unique, :borrowed, :using  hash  unique key -> job id, blob key and upload -> number of users: of live (queued or running) jobs
-- :seq           number of the last event           :events     stream, entry <number>-0
-- :idem:<key>    string  digest, newline, job id; kept for a day
-- :upload:<id>   string  expires_at, space, JSON    :uploads    zset by expires_at: those no live job uses
-- :tunings, :schedules, :due  hash  by name: JSON, JSON, next fire     :paused  set of queues
--
-- Times are milliseconds since 1970, as text.
local P, call = KEYS[1], redis.call
local EVENTS_MAX, LOG_LINES_MAX = 1000000, 2000
local FIELDS = {'q', 'st', 'at', 'v', 'pr', 'ra', 'cr', 'ex', 'fi', 'fm', 'uk', 'up', 'bo', 'by', 'op'}

local news, heard = {}, {}

-- Told to every process once the script is over.
local function notice(text)
  if not heard[text] then
    heard[text] = true
    news[#news + 1] = text
  end
end

local function publish()
  if #news > 0 then call('PUBLISH', P .. ':notices', table.concat(news, '\n')) end
end

local function load(id)
  local values = call('HMGET', P .. ':job:' .. id, unpack(FIELDS))
  if not values[1] then return nil end
  local job = {}
  for i, name in ipairs(FIELDS) do job[name] = values[i] or '' end
  return job
end

local function save(id, job)
  local flat = {}
  for _, name in ipairs(FIELDS) do
    flat[#flat + 1] = name
    flat[#flat + 1] = job[name]
  end
  call('HSET', P .. ':job:' .. id, unpack(flat))
end

-- What a reader needs: version, body, and what has happened since that body was written.
local function found(id)
  local version = call('HGET', P .. ':job:' .. id, 'v')
  if not version then return false end
  return {version, call('GET', P .. ':body:' .. id), call('HGETALL', P .. ':run:' .. id)}
end

-- The place of a job among those that are ready: the least is taken first. Priority 9 to 0, then age; fits a double.
local function order(job)
  return string.format('%.0f', (9 - job.pr) * 1e13 + math.max(0, math.min(job.ra, 1e13 - 1)))
end

local function is_live(job) return job.st == '0' or job.st == '1' end

local function use(what, key, id, step)
  if key ~= '' and call('HINCRBY', P .. what, key, step) <= 0 then call('HDEL', P .. what, key) end
end

-- A live job holds its unique key, its upload and the blob it borrows.
local function hold(id, job)
  if job.uk ~= '' then call('HSET', P .. ':unique', job.uk, id) end
  use(':borrowed', job.bo, id, 1)
  use(':using', job.up, id, 1)
  if job.up ~= '' then call('ZREM', P .. ':uploads', job.up) end
end

local function let_go(id, job)
  if job.uk ~= '' and call('HGET', P .. ':unique', job.uk) == id then call('HDEL', P .. ':unique', job.uk) end
  use(':borrowed', job.bo, id, -1)
  use(':using', job.up, id, -1)
  local upload = job.up ~= '' and call('HEXISTS', P .. ':using', job.up) == 0 and call('GET', P .. ':upload:' .. job.up)
  if upload then call('ZADD', P .. ':uploads', string.match(upload, '^%S+'), job.up) end
end

-- Enters a job into every index of its state. Of queued ones `now` tells the ready from the delayed.
local function place(id, job, now, lease_until)
  call('ZADD', P .. ':jobs:' .. job.st .. ':' .. job.q, job.cr, id)
  if job.fm ~= '' then call('ZADD', P .. ':form:' .. job.st .. ':' .. job.fm .. ':' .. job.q, job.cr, id) end
  call('HINCRBY', P .. ':counts', job.st .. ':' .. job.q, 1)
  if job.st == '0' then
    if tonumber(job.ra) <= tonumber(now) then
      call('ZADD', P .. ':ready:' .. job.q, order(job), id)
    else
      call('ZADD', P .. ':delayed:' .. job.q, job.ra, id)
    end
    if job.ex ~= '' then call('ZADD', P .. ':expiry', job.ex, id) end
    notice('ready ' .. job.q)
  elseif job.st == '1' then
    call('ZADD', P .. ':leased', lease_until, id)
  else
    call('ZADD', P .. ':ended:' .. job.q, job.fi, id)
    if job.by == '1' then call('ZADD', P .. ':bytes:' .. job.q, job.fi, id) end
  end
end

-- Takes a job out of every index of its state.
local function lift(id, job)
  call('ZREM', P .. ':jobs:' .. job.st .. ':' .. job.q, id)
  if job.fm ~= '' then call('ZREM', P .. ':form:' .. job.st .. ':' .. job.fm .. ':' .. job.q, id) end
  call('HINCRBY', P .. ':counts', job.st .. ':' .. job.q, -1)
  if job.st == '0' then
    if call('ZREM', P .. ':ready:' .. job.q, id) == 0 then call('ZREM', P .. ':delayed:' .. job.q, id) end
    if job.ex ~= '' then call('ZREM', P .. ':expiry', id) end
  elseif job.st == '1' then
    call('ZREM', P .. ':leased', id)
  else
    call('ZREM', P .. ':ended:' .. job.q, id)
    if job.by == '1' then call('ZREM', P .. ':bytes:' .. job.q, id) end
  end
end

-- The words of a body, as members of :words.
local function words(id, body)
  local members = {'#' .. id}
  for word in string.gmatch(string.match(body, '^[^\n]*'), '%S+') do members[#members + 1] = word .. ' ' .. id end
  return members
end

local function index(id, body)
  local scored = {}
  for _, member in ipairs(words(id, body)) do
    scored[#scored + 1] = 0
    scored[#scored + 1] = member
  end
  call('ZADD', P .. ':words', unpack(scored))
end

-- The number is given with the change it tells of, so a reader sees no gap.
local function event(at, kind, id, queue, detail)
  local n = call('INCR', P .. ':seq')
  local number = string.format('%.0f', n)
  local oldest = string.format('%.0f', math.max(0, n - EVENTS_MAX))
  call('XADD', P .. ':events', 'MINID', '~', oldest, number .. '-0', 'at', at, 'kind', kind, 'job', id, 'queue', queue, 'detail', detail)
  if id ~= '' then
    call('RPUSH', P .. ':told:' .. id, number)
    notice('job ' .. id)
  end
end

-- Appends ARGV[first] to ARGV[last]; what is past the cap is dropped.
local function log(id, first, last)
  if last < first then return end
  local room = LOG_LINES_MAX - call('LLEN', P .. ':log:' .. id)
  for i = first, math.min(last, first + room - 1) do call('RPUSH', P .. ':log:' .. id, ARGV[i]) end
end
