-- Tells all that this process lives and that its messages are being worked at: nobody restores them.
-- KEYS: unacked_index, this process's tags, its sign of life, the set of all processes.
-- ARGV: the process, for how many ms the sign holds.
-- Returns its tags.
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
redis.call('SET', KEYS[3], '1', 'PX', ARGV[2])
redis.call('SADD', KEYS[4], ARGV[1])
local tags = redis.call('SMEMBERS', KEYS[2])
for _, tag in ipairs(tags) do
  redis.call('ZADD', KEYS[1], 'XX', now, tag)
end
return tags
