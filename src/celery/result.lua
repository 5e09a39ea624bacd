-- Writes a result, never over a SUCCESS, and tells those who wait for it. With a chord it writes the member's part too.
-- KEYS: the result, then for a chord .j .t .s .d .c of its group.
-- ARGV: document, seconds it is kept (0: for ever), 1 when it is to be stored; for a chord then: member's key, score, part, token.
-- Returns {1 when written, chord's state}: '' no chord, 'open', 'mine' (complete, and its body is this caller's to send), 'busy'
-- (somebody else sends it), 'done'.
local written = 0
if ARGV[3] == '1' then
  local old = redis.call('GET', KEYS[1])
  local is_done = old and string.find(old, '"status": ?"SUCCESS"') == 2
  if old and not is_done then
    local ok, document = pcall(cjson.decode, old)
    is_done = ok and type(document) == 'table' and document.status == 'SUCCESS'
  end
  if not is_done then
    if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1]) end
    redis.call('PUBLISH', KEYS[1], ARGV[1])
    written = 1
  end
end
if #KEYS == 1 then return { written, '' } end
local j, t, s, d, c = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if redis.call('GET', c) == 'done' then return { written, 'done' } end
if redis.call('SADD', d, ARGV[4]) == 1 then redis.call('ZADD', j, ARGV[5], ARGV[6]) end
for i = 2, 5 do redis.call('EXPIRE', KEYS[i], 86400) end
local size = tonumber(redis.call('GET', s))
if not size or redis.call('ZCARD', j) < size + (tonumber(redis.call('GET', t)) or 0) then return { written, 'open' } end
if redis.call('SET', c, ARGV[7], 'NX', 'EX', 30) or redis.call('GET', c) == ARGV[7] then return { written, 'mine' } end
return { written, 'busy' }
