#!lua flags=no-writes
-- One page of pipelines, newest first.
-- ARGV  1 limit  2 below this one, or ''  3 state, or ''  4 the token that sent them, or ''
-- Returns {id, text...}.
local key = P .. ':pipelines' .. (ARGV[4] == '' and '' or ':of:' .. ARGV[4]) .. (ARGV[3] == '' and '' or ':' .. ARGV[3])
local answer = {}
for _, id in ipairs(call('ZREVRANGEBYLEX', key, ARGV[2] == '' and '+' or '(' .. ARGV[2], '-', 'LIMIT', 0, ARGV[1])) do
  answer[#answer + 1] = id
  answer[#answer + 1] = call('GET', P .. ':pipeline:' .. id)
end
return answer
