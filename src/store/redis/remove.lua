#!lua flags=allow-oom
-- Forgets an ended job.
-- ARGV  1 id  2 the version its caller has looked at  3... keys of its blobs
-- Returns '' (no such job), what is found when the version is another one, or {'removed', key...}: the blobs no live job borrows.
local TOLD_KEPT_S = 7 * 86400
local id = ARGV[1]
local job = load(id)
if not job then return '' end
if job.v ~= ARGV[2] then return found(id, job) end
lift(id, job)
if job.pi ~= '' then take_out(':jobs-of:' .. string.match(job.pi, '^%S+'), id) end
for _, member in ipairs(words(id, call('GET', P .. ':body:' .. id))) do take_out(':words', member) end
call('DEL', P .. ':job:' .. id, P .. ':body:' .. id, P .. ':run:' .. id, P .. ':log:' .. id)
-- Its events can be read back as long as events are kept.
call('SET', P .. ':told:' .. id, job.ev, 'EX', TOLD_KEPT_S)
close()
local answer = {'removed'}
for i = 3, #ARGV do
  if call('HEXISTS', P .. ':borrowed', ARGV[i]) == 0 then answer[#answer + 1] = ARGV[i] end
end
return answer
