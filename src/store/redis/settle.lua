#!lua flags=allow-oom
-- Keeps what came of a letter, if nobody else has had it in hand since.
-- ARGV  1 id  2 how often it was taken, as its caller knows  3 the same from now on  4 state  5 when it is due, or ''
--       6 the delivery as JSON  7 a URL, or ''  8 '1' to switch that off, '' to switch it on  9 now
-- Returns 'done', 'lost', or '' (no such letter).
-- Repeated: what it would write is there.
local key = P .. ':letter:' .. ARGV[1]
local taken, state, doc, job = unpack(call('HMGET', key, 'a', 's', 'd', 'q'))
if not taken then return '' end
if taken == ARGV[3] and doc == ARGV[6] then return 'done' end
-- An ended one is only replayed, and that takes it once more.
if taken ~= ARGV[2] or (state ~= '0' and ARGV[2] == ARGV[3]) then return 'lost' end
call('HSET', key, 'a', ARGV[3], 's', ARGV[4], 'd', ARGV[6])
take_out(':letters:' .. state, ARGV[1])
take_out(':outbox', ARGV[1])
flush()
add(':letters:' .. ARGV[4], 0, ARGV[1])
if ARGV[5] ~= '' then
  add(':outbox', ARGV[5], ARGV[1])
  notice('delivery due')
end
if ARGV[7] ~= '' then
  if ARGV[8] == '1' then call('HSET', P .. ':off', ARGV[7], ARGV[9]) else call('HDEL', P .. ':off', ARGV[7]) end
end
close()
return 'done'
