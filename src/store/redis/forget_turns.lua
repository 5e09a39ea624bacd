#!lua flags=allow-oom
-- Forgets fairness keys whose last turn has gone by: they stand where a new one would.
local lines = call('HGETALL', P .. ':turns')
for i = 1, #lines, 2 do
  local given = call('HGETALL', P .. ':turns:' .. lines[i])
  for at = 1, #given, 2 do
    if tonumber(given[at + 1]) <= tonumber(lines[i + 1]) then call('HDEL', P .. ':turns:' .. lines[i], given[at]) end
  end
end
return 'done'
