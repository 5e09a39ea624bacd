-- Sends a message, once under its sender's key, however often it is asked to.
-- KEYS: the sender's key, the list. ARGV: the message, for how many seconds the key is kept. Returns 1; 0 when it was sent before.
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[2]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[1])
return 1
