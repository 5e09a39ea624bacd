#!lua flags=allow-oom
-- Forgets pipelines that have ended and of which no job is left.
-- ARGV  1 ended before  2 at most this many
-- Returns how many.
local LOOKED_AT_MAX = 5000
local gone = 0
for _, id in ipairs(call('ZRANGEBYSCORE', P .. ':pipelines-ended', '-inf', '(' .. ARGV[1], 'LIMIT', 0, LOOKED_AT_MAX)) do
  if gone >= tonumber(ARGV[2]) then break end
  if call('EXISTS', P .. ':jobs-of:' .. id) == 0 then
    local head = string.match(call('GET', P .. ':pipeline:' .. id), '^[^\n]*')
    local st = string.match(head, '^%d+ %S+ (%d)')
    for _, list in ipairs(lists_of(head)) do
      for _, key in ipairs({list, list .. ':' .. st}) do call('ZREM', P .. key, id) end
    end
    call('ZREM', P .. ':pipelines-ended', id)
    call('DEL', P .. ':pipeline:' .. id, P .. ':steps:' .. id)
    gone = gone + 1
  end
end
return gone
