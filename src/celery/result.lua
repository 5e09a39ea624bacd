-- Writes a result, and tells those who wait for it. With a chord it writes the member's part too.
-- KEYS: the result, then for a chord .j .t .s .d .c of its group.
-- ARGV: document, seconds it is kept (0: for ever), 1 when it is to be stored; for a chord then: member's key, score, part, token.
-- Returns {1 when written, chord's state}: '' no chord, 'open', 'mine' (complete, and its body is this caller's to send), 'busy'
-- (somebody else sends it), 'done'.
local written = 0
if ARGV[3] == '1' then written = write(KEYS[1], ARGV[1], ARGV[2]) end
if #KEYS == 1 then return { written, '' } end
local j, t, s, d, c = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if redis.call('GET', c) == 'done' then return { written, 'done' } end
if redis.call('SADD', d, ARGV[4]) == 1 then redis.call('ZADD', j, ARGV[5], ARGV[6]) end
for i = 2, 5 do redis.call('EXPIRE', KEYS[i], 86400) end
local size = tonumber(redis.call('GET', s))
if not size or redis.call('ZCARD', j) < size + (tonumber(redis.call('GET', t)) or 0) then return { written, 'open' } end
if redis.call('SET', c, ARGV[7], 'NX', 'EX', 30) or redis.call('GET', c) == ARGV[7] then return { written, 'mine' } end
return { written, 'busy' }
