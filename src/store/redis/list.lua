#!lua flags=no-writes
-- One page of jobs, newest first: by created_at, then by id. Looks at the head of one index for each queue and state, and at all
-- that run. Of a pipeline: at its jobs, by id.
-- ARGV  1 limit  2 below this job, or ''  3 state, or ''  4 queue, or ''  5 format, or ''  6 pipeline, or ''  7 step, or ''
--       8 created at or after, or ''  9 created before, or ''
-- Returns what is found of each.
local limit, before, since, till = tonumber(ARGV[1]), ARGV[2], ARGV[8], ARGV[9]
if ARGV[6] ~= '' then
  local STEP = 500
  local answer, from = {}, before == '' and '+' or '(' .. before
  repeat
    local ids = call('ZREVRANGEBYLEX', P .. ':jobs-of:' .. ARGV[6], from, '-', 'LIMIT', 0, STEP)
    for _, id in ipairs(ids) do
      if #answer >= limit then return answer end
      from = '(' .. id
      if fits(load(id), {st = ARGV[3], q = ARGV[4], fm = ARGV[5]}, ARGV[6], ARGV[7], since, till) then answer[#answer + 1] = found(id) end
    end
  until #ids < STEP
  return answer
end
local before_at
if before ~= '' then
  local job = load(before)
  if not job then return {} end
  before_at = job.cr
end

-- The first position, counted from the newest, that is below `before`: among equal times the ids decide.
local function start(key)
  local newest = till ~= '' and call('ZCOUNT', key, till, '+inf') or 0
  if not before_at then return newest end
  local low, high = call('ZCOUNT', key, '(' .. before_at, '+inf'), call('ZCOUNT', key, before_at, '+inf')
  while low < high do
    local middle = math.floor((low + high) / 2)
    if call('ZREVRANGE', key, middle, middle)[1] >= before then low = middle + 1 else high = middle end
  end
  return math.max(newest, low)
end

local heads = {}
local counts = call('HGETALL', P .. ':counts')
for i = 1, #counts, 2 do
  local state, queue = string.match(counts[i], '^(%d):(.*)$')
  if counts[i + 1] ~= '0' and state ~= '1' and (ARGV[3] == '' or ARGV[3] == state) and (ARGV[4] == '' or ARGV[4] == queue) then
    local key = ARGV[5] == '' and P .. ':jobs:' .. state .. ':' .. queue or P .. ':form:' .. state .. ':' .. ARGV[5] .. ':' .. queue
    local first = start(key)
    local page = call('ZREVRANGE', key, first, first + limit - 1, 'WITHSCORES')
    for at = 1, #page, 2 do
      local created = tonumber(page[at + 1])
      if since ~= '' and created < tonumber(since) then break end
      heads[#heads + 1] = {created, page[at]}
    end
  end
end
if ARGV[3] == '' or ARGV[3] == '1' then
  for _, id in ipairs(call('ZRANGE', P .. ':leased', 0, -1)) do
    local job = load(id)
    local created = tonumber(job.cr)
    local is_below = not before_at or created < tonumber(before_at) or (created == tonumber(before_at) and id < before)
    local is_within = (since == '' or created >= tonumber(since)) and (till == '' or created < tonumber(till))
    if is_below and is_within and (ARGV[4] == '' or ARGV[4] == job.q) and (ARGV[5] == '' or ARGV[5] == job.fm) then
      heads[#heads + 1] = {created, id}
    end
  end
end
table.sort(heads, function(a, b)
  if a[1] ~= b[1] then return a[1] > b[1] end
  return a[2] > b[2]
end)
local answer = {}
for i = 1, math.min(limit, #heads) do answer[i] = found(heads[i][2]) end
return answer
