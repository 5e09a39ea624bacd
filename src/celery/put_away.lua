-- Takes a message out of work into a list of its own: one that nobody can read, or whose task has no name here.
-- KEYS: unacked, unacked_index, this process's tags, the list. ARGV: tag, what is kept.
-- Returns 1; 0 when the message is not ours any more.
redis.call('SREM', KEYS[3], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('LPUSH', KEYS[4], ARGV[2])
return 1
