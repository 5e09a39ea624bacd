-- Takes messages from the lists given, in their order, and writes them down as kombu does before anybody sees them: a message
-- is in its list or in `unacked`, never in between. The bytes of a message are not touched.
-- KEYS: unacked, unacked_index, this process's tags, dead list, then the lists.
-- ARGV: how many at most, then for each list the name of its queue (as JSON text).
-- Returns tag, queue, message for each one taken. A message without a delivery tag cannot be written down: it goes to the dead list.
local left, taken = tonumber(ARGV[1]), {}
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
for i = 5, #KEYS do
  local queue = ARGV[i - 3]
  while left > 0 do
    local raw = redis.call('RPOP', KEYS[i])
    if not raw then break end
    local tag = string.match(raw, '.*"delivery_tag": ?"([^"\\]+)"')
    if tag and string.sub(raw, 1, 1) == '{' then
      redis.call('ZADD', KEYS[2], now, tag)
      redis.call('HSET', KEYS[1], tag, '[' .. raw .. ', "", ' .. queue .. ']')
      redis.call('SADD', KEYS[3], tag)
      taken[#taken + 1] = tag
      taken[#taken + 1] = queue
      taken[#taken + 1] = raw
      left = left - 1
    else
      redis.call('LPUSH', KEYS[4], raw)
    end
  end
end
return taken
