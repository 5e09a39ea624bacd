#!lua
-- Takes up to `max` jobs that are due in one queue, each with its attempt counted up.
-- ARGV  1 now  2 queue  3 max  4 the lease's end  5 the lease's facts as JSON: with the queue's live settings
--       they are kept beside the record, and every reader makes the attempt of them
--       6 operation  7 '1' when this is a repetition after a lost answer
-- Returns {'expired', found...}: jobs past their expires_at, to be failed by the caller before it asks again;
--         or {'leased', found...}, best first.
-- Repeated: the leases of the first try are given again.
local PROMOTED_MAX, EXPIRED_MAX = 1000, 100
local now, queue, max = ARGV[1], ARGV[2], tonumber(ARGV[3])
local answer = {'leased'}

if ARGV[7] == '1' then
  for _, id in ipairs(call('ZRANGE', P .. ':leased', 0, -1)) do
    if call('HGET', P .. ':job:' .. id, 'op') == ARGV[6] then answer[#answer + 1] = found(id) end
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
local due = call('ZRANGEBYSCORE', P .. ':delayed:' .. queue, '-inf', now, 'LIMIT', 0, PROMOTED_MAX)
for _, id in ipairs(due) do
  call('ZADD', P .. ':ready:' .. queue, order(load(id)), id)
  call('ZREM', P .. ':delayed:' .. queue, id)
end
local tuning = call('HGET', P .. ':tunings', queue)
for _, id in ipairs(call('ZRANGE', P .. ':ready:' .. queue, 0, max - 1)) do
  local job = load(id)
  lift(id, job)
  job.st, job.at, job.v, job.op = '1', string.format('%d', job.at + 1), string.format('%d', job.v + 1), ARGV[6]
  save(id, job)
  place(id, job, now, ARGV[4])
  call('HSET', P .. ':run:' .. id, 'lease', ARGV[5])
  if tuning then call('HSET', P .. ':run:' .. id, 'tuning', tuning) end
  event(now, 'started', id, queue, '{"attempt":' .. job.at .. '}')
  answer[#answer + 1] = found(id)
end
publish()
return answer
