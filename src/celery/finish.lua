-- Ends a task where broker and result backend are one server, all of it or nothing: its result, its part in a chord, the documents and
-- messages that follow from it, its own message. A chord that this part completes needs its body, which the caller makes of the parts.
-- KEYS: unacked, unacked_index, this process's tags, the result; .j .t .s .d .c of the chord it is a part of, if it is of one; a key for
-- each further document; .s and .c of each chord that begins; the list of each message.
-- ARGV: tag, the broker's database, that of results, seconds a document is kept (0: for ever), the document ('': none), how many
-- further documents, how many chords begin, how many parts the body among the messages was made of (0: there is none); member's key
-- ('': of no chord), score, part; then the further documents, the sizes of chords, the messages.
-- Returns {'ended'}; {'lost'}: the message is not ours any more, and only its result is told; or, with nothing done, {'complete', the
-- parts in order}, {'busy'}: somebody else is about to send the body, {'changed'}: there is a body, and it is not to be sent.
local j, t, s, d, c
local key, arg, made_of = 5, 12, tonumber(ARGV[8])
local function go_to(database)
  if ARGV[2] ~= ARGV[3] then redis.call('SELECT', database) end
end

local is_ours = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1
if not is_ours then redis.call('SREM', KEYS[3], ARGV[1]) end
go_to(ARGV[3])
local is_member, is_complete = false, false
if ARGV[9] ~= '' then
  j, t, s, d, c = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
  key = 10
  local claim = redis.call('GET', c)
  is_member = is_ours and claim ~= 'done'
  if is_member then
    local size, is_new = tonumber(redis.call('GET', s)), redis.call('SISMEMBER', d, ARGV[9]) == 0
    local count = redis.call('ZCARD', j) + (is_new and 1 or 0)
    is_complete = size and count >= size + (tonumber(redis.call('GET', t)) or 0)
    if is_complete and claim then return { 'busy' } end
    if is_complete and count ~= made_of then
      if is_new then redis.call('ZADD', j, ARGV[10], ARGV[11]) end
      local parts = redis.call('ZRANGE', j, 0, -1)
      if is_new then redis.call('ZREM', j, ARGV[11]) end
      table.insert(parts, 1, 'complete')
      return parts
    end
  end
end
if is_ours and made_of > 0 and not is_complete then return { 'changed' } end

if ARGV[5] ~= '' then write(KEYS[4], ARGV[5], ARGV[4]) end
if not is_ours then return { 'lost' } end
for _ = 1, tonumber(ARGV[6]) do
  write(KEYS[key], ARGV[arg], ARGV[4])
  key, arg = key + 1, arg + 1
end
if is_complete then
  redis.call('DEL', j, t, s, d)
  redis.call('SET', c, 'done', 'EX', 300)
elseif is_member then
  if redis.call('SADD', d, ARGV[9]) == 1 then redis.call('ZADD', j, ARGV[10], ARGV[11]) end
  for _, part in ipairs({ j, t, s, d }) do redis.call('EXPIRE', part, 86400) end
end
for _ = 1, tonumber(ARGV[7]) do
  redis.call('SET', KEYS[key], ARGV[arg], 'EX', 86400)
  redis.call('DEL', KEYS[key + 1])
  key, arg = key + 2, arg + 1
end
go_to(ARGV[2])
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
for i = key, #KEYS do redis.call('LPUSH', KEYS[i], ARGV[arg + i - key]) end
return { 'ended' }
