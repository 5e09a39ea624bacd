#!lua flags=no-writes
-- Ended jobs of one index that are past their time, but for those of pipelines that run.
-- ARGV  1 the index without its prefix, as ':ended:image'  2 below this score  3 how many
-- Returns what is found of each, by rising score.
local STEP = 200
local answer, at, max = {}, 0, tonumber(ARGV[3])
repeat
  local ids = call('ZRANGEBYSCORE', P .. ARGV[1], '-inf', '(' .. ARGV[2], 'LIMIT', at, STEP)
  for _, id in ipairs(ids) do
    if #answer >= max then return answer end
    local job = load(id)
    local pipeline = string.match(job.pi, '^%S+')
    if not pipeline or not call('ZSCORE', P .. ':pipelines:1', pipeline) then answer[#answer + 1] = found(id, job) end
  end
  at = at + STEP
until #ids < STEP
return answer
