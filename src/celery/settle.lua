-- Ends a message: out of `unacked`, and what follows from it into its queues, once.
-- KEYS: unacked, unacked_index, this process's tags, then the lists to push to. ARGV: tag, then a message for each list.
-- Returns 1; 0 when the message is not ours any more: then nothing is pushed.
redis.call('SREM', KEYS[3], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
for i = 4, #KEYS do redis.call('LPUSH', KEYS[i], ARGV[i - 2]) end
return 1
