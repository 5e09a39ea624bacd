#!lua
-- Begins a pipeline, unless the key that it was sent with stands for one already.
-- ARGV  1 now  2 its id  3 how :pipeline:<id> begins  4 its document  5 the key, or ''  6 digest of the request
-- Returns the id of the one that is there, or 'mismatch' (the key came with another request).
-- Repeated: it is there, and its key stands for it.
local KEPT_S = 86400
local key = P .. ':pipeline-key:' .. ARGV[5]
local digest, known = string.match(ARGV[5] ~= '' and call('GET', key) or '', '^(.*)\n(.*)$')
-- A key whose pipeline was purged stands for nothing any more.
if known and call('EXISTS', P .. ':pipeline:' .. known) == 1 then
  return digest == ARGV[6] and known or 'mismatch'
end
if call('EXISTS', P .. ':pipeline:' .. ARGV[2]) == 0 then
  if ARGV[5] ~= '' then call('SET', key, ARGV[6] .. '\n' .. ARGV[2], 'EX', KEPT_S) end
  put_pipeline(ARGV[2], '', ARGV[3], ARGV[4], ARGV[1])
  close()
end
return ARGV[2]
