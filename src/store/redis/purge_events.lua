#!lua flags=allow-oom
-- Forgets events, oldest first.
-- ARGV  1 those told before this time  2 at most this many entries of the stream
-- Returns how many entries went.
local gone = {}
for _, entry in ipairs(call('XRANGE', P .. ':events', '-', '+', 'COUNT', ARGV[2])) do
  if tonumber(string.match(entry[2][#entry[2]], '^[^\n]*')) >= tonumber(ARGV[1]) then break end
  gone[#gone + 1] = entry[1]
end
if #gone > 0 then call('XDEL', P .. ':events', unpack(gone)) end
return #gone
