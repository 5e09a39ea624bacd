#!lua flags=allow-oom
-- Forgets events, oldest first.
-- ARGV  1 those told before this time  2 at most this many
-- Returns how many went.
local gone = {}
for _, entry in ipairs(call('XRANGE', P .. ':events', '-', '+', 'COUNT', ARGV[2])) do
  if tonumber(entry[2][2]) >= tonumber(ARGV[1]) then break end
  gone[#gone + 1] = entry[1]
end
if #gone > 0 then call('XDEL', P .. ':events', unpack(gone)) end
return #gone
