#!lua
-- Keeps an upload.
-- ARGV  1 id  2 expires_at  3 the upload as JSON
call('SET', P .. ':upload:' .. ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
if call('HEXISTS', P .. ':using', ARGV[1]) == 0 then call('ZADD', P .. ':uploads', ARGV[2], ARGV[1]) end
return 'done'
