#!lua flags=allow-oom
-- Takes letters that are due.
-- ARGV  1 now  2 when they are due again  3 at most this many
-- Returns the URLs that want nothing more, then per letter its id and its fields.
-- Repeated: those of the first try are taken by nobody, and are due again when their time has passed.
local answer = {call('HKEYS', P .. ':off')}
for _, id in ipairs(call('ZRANGEBYSCORE', P .. ':outbox', '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  call('HINCRBY', P .. ':letter:' .. id, 'a', 1)
  call('ZADD', P .. ':outbox', ARGV[2], id)
  answer[#answer + 1] = {id, call('HGETALL', P .. ':letter:' .. id)}
end
return answer
