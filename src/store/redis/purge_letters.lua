#!lua flags=allow-oom
-- Forgets letters that have ended, oldest first.
-- ARGV  1 the first id to keep  2 at most this many of each state
-- Returns how many went.
local gone = 0
for _, state in ipairs({'1', '2'}) do
  for _, id in ipairs(call('ZRANGEBYLEX', P .. ':letters:' .. state, '-', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])) do
    local job = call('HGET', P .. ':letter:' .. id, 'q')
    call('DEL', P .. ':letter:' .. id)
    take_out(':letters:' .. state, id)
    if job then take_out(':letters:of:' .. job, id) end
    gone = gone + 1
  end
end
close()
return gone
