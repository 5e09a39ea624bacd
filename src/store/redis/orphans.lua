#!lua flags=no-writes
-- Those of these blob keys that no record points at, and no running attempt may still come to point at.
-- ARGV  keys: uploads/<id> or jobs/<id>/<attempt>/<n>
local function is_needed(key)
  local upload = string.match(key, '^uploads/([^/]+)$')
  if upload then return call('EXISTS', P .. ':upload:' .. upload) == 1 or call('HEXISTS', P .. ':using', upload) == 1 end
  local id, attempt = string.match(key, '^jobs/([^/]+)/(%d+)')
  if not id then return false end
  if call('HEXISTS', P .. ':borrowed', key) == 1 then return true end
  local job = load(id)
  if not job then return false end
  -- A record holds keys of its own outputs nowhere but in its list of artifacts.
  return (job.st == '1' and job.at == attempt) or string.find(call('GET', P .. ':body:' .. id), '"' .. key .. '"', 1, true) ~= nil
end
local answer = {}
for _, key in ipairs(ARGV) do
  if not is_needed(key) then answer[#answer + 1] = key end
end
return answer
