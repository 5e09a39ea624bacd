#!lua flags=allow-oom
-- Forgets uploads past their time that no live job uses.
-- ARGV  1 now  2 at most this many
-- Returns each one's JSON.
local answer = {}
for _, id in ipairs(call('ZRANGEBYSCORE', P .. ':uploads', '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local upload = call('GET', P .. ':upload:' .. id)
  if upload then answer[#answer + 1] = string.match(upload, '^%S+ (.*)$') end
  call('DEL', P .. ':upload:' .. id)
  call('ZREM', P .. ':uploads', id)
end
return answer
