#!lua flags=no-writes
-- When the queued job that comes due first did so, or will, for each queue that has any: one look for each priority.
-- Returns queue, time, queue, time...
local answer = {}
local counts = call('HGETALL', P .. ':counts')
for i = 1, #counts, 2 do
  local queue = string.match(counts[i], '^0:(.*)$')
  if queue and counts[i + 1] ~= '0' then
    local first = tonumber(call('ZRANGE', P .. ':delayed:' .. queue, 0, 0, 'WITHSCORES')[2])
    for priority = 0, 9 do
      local band, next_band = string.format('%.0f', priority * 1e13), string.format('(%.0f', (priority + 1) * 1e13)
      local head = call('ZRANGEBYSCORE', P .. ':ready:' .. queue, band, next_band, 'WITHSCORES', 'LIMIT', 0, 1)
      local run_at = head[2] and head[2] - band
      if run_at and (not first or run_at < first) then first = run_at end
    end
    if first then
      answer[#answer + 1] = queue
      answer[#answer + 1] = string.format('%.0f', first)
    end
  end
end
return answer
