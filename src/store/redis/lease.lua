#!lua
-- Takes up to `max` jobs that are due in one queue, each with its attempt counted up.
-- ARGV  1 now  2 queue  3 max  4 the lease's end  5 the lease's facts as JSON: with the queue's live settings
--       they are kept beside the record, and every reader makes the attempt of them
--       6 operation  7 the queue file's rate limit, as "100/m", or ''  8 now in microseconds
--       9 what ids of letters begin with  10 '1' when this is a repetition after a lost answer
-- Returns {'expired', found...}: jobs past their expires_at, to be failed by the caller before it asks again;
--         or {'leased', found...}, best first.
-- Repeated: the leases of the first try are given again.
local EXPIRED_MAX, PAGE = 100, 100
local UNITS = {s = 1, m = 60, h = 3600}
local now, queue, max = ARGV[1], ARGV[2], math.min(tonumber(ARGV[3]), VALUES_MAX)
local answer = {'leased'}

-- Takes the rate limit into account: how many may start, and what to note once so many have. See limits/rate.rs for the meaning.
local function limited(rate, wanted)
  local count, unit = string.match(rate, '^(%d+)/(%a)$')
  if not count then return wanted, function() end end
  local interval = math.floor(UNITS[unit] * 1e6 / count)
  local burst = math.max(math.floor(count / UNITS[unit]), 1)
  local at, last = tonumber(ARGV[8]), tonumber(call('HGET', P .. ':starts', queue) or -1e16)
  local early = at - (last + interval * (2 - burst))
  local free = early < 0 and 0 or math.min(math.floor(early / interval) + 1, burst)
  return math.min(wanted, free), function(started)
    local first = math.max(last + interval, at)
    call('HSET', P .. ':starts', queue, string.format('%.0f', first + interval * (started - 1)))
  end
end

if ARGV[10] == '1' then
  for _, id in ipairs(call('ZRANGE', P .. ':leased', 0, -1)) do
    local job = load(id)
    if job.op == ARGV[6] then answer[#answer + 1] = found(id, job) end
  end
  if #answer > 1 then return answer end
end
if call('SISMEMBER', P .. ':paused', queue) == 1 then return answer end
local expired = call('ZRANGEBYSCORE', P .. ':expiry', '-inf', '(' .. now, 'LIMIT', 0, EXPIRED_MAX)
if #expired > 0 then
  answer = {'expired'}
  for _, id in ipairs(expired) do answer[#answer + 1] = found(id) end
  return answer
end
promote(queue, now)
local tuning = call('HGET', P .. ':tunings', queue)
local rate = tuning and cjson.decode(tuning).rate_limit
if rate == nil or rate == false then rate = ARGV[7] end
local note_starts
max, note_starts = limited(rate == cjson.null and '' or rate, max)
-- What each token may still start that has a number of slots; nil: none has.
local function slots_left()
  local slots, left = call('HGETALL', P .. ':slots'), nil
  for i = 1, #slots, 2 do
    left = left or {}
    left[slots[i]] = tonumber(slots[i + 1]) - tonumber(call('HGET', P .. ':running', slots[i]) or 0)
  end
  return left
end

-- The first that may start, with their places in the line.
local function first(wanted)
  local key, left, heads, at = P .. ':ready:' .. queue, slots_left(), {}, 0
  if wanted <= 0 then return heads end
  if not left then return call('ZRANGE', key, 0, wanted - 1, 'WITHSCORES') end
  repeat
    local page = call('ZRANGE', key, at, at + PAGE - 1, 'WITHSCORES')
    for i = 1, #page, 2 do
      local owner = load(page[i]).ow
      if #heads < 2 * wanted and (left[owner] or 1) > 0 then
        heads[#heads + 1], heads[#heads + 2] = page[i], page[i + 1]
        if left[owner] then left[owner] = left[owner] - 1 end
      end
    end
    at = at + PAGE
  until #page < 2 * PAGE or #heads >= 2 * wanted
  return heads
end

local heads = first(max)
if #heads == 0 then
  close()
  return answer
end
-- What it takes of a queued job's text: version, attempt, events, and the rest, with its format, expires_at and pipeline.
local QUEUED = '^(%d+)\n[^\n]*\n0\n(%d+)\n\n\n\n([^\n]*)\n(([^\n]*)\n([^\n]*)\n([^\n]*)\n.*)$'
local ids, NONE = {}, {}
for head = 1, #heads, 2 do ids[#ids + 1] = heads[head] end
local texts, bodies = for_all('MGET', ':job:', ids), for_all('MGET', ':body:', ids)
local watched = call('EXISTS', P .. ':started') == 1 and call('HMGET', P .. ':started', unpack(ids))
-- Of a queued job the text ends with the token that sent it, if there is one, and an empty line.
local function owner_of(rest) return string.sub(rest, -2) == '\n\n' and '' or string.match(rest, '\n([^\n]*)\n$') end

local waiting, running = {st = '0', q = queue, wa = '', has_turn = true}, {st = '1', q = queue}
for i, id in ipairs(ids) do
  local score = tonumber(heads[2 * i])
  local line = line_of(queue, 9 - math.floor(score / 1e13))
  if score % 1e13 > line.leased then line.leased, line.is_leased = score % 1e13, true end
  local version, attempt, ev, rest, format, expires_at, pipeline = string.match(texts[i], QUEUED)
  version, attempt = string.format('%d', version + 1), string.format('%d', attempt + 1)
  waiting.fm, waiting.ex, waiting.pi = format, expires_at, pipeline
  lift(id, waiting)
  running.pi, running.ow = pipeline, owner_of(rest)
  place(id, running, ARGV[4])
  ev = with_event(ev, event(now, 'started', id, queue, '{"attempt":' .. attempt .. '}'))
  save(id, version, ARGV[6], '1', attempt, ARGV[5], tuning or '', '', ev, rest)
  if watched and watched[i] then
    post(ARGV[9] .. '_' .. i, now, id, 'd', watched[i], 'b', bodies[i], 'f', ARGV[5], 't', tuning or '')
  end
  answer[i + 1] = {version, bodies[i], ARGV[5], tuning or '', false, NONE}
end
note_starts(#ids)
close()
return answer
