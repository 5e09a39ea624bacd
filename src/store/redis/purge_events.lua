#!lua flags=allow-oom
-- Forgets events, oldest first.
-- ARGV  1 those told before this time  2 at most this many entries of the stream
-- Returns how many entries went.
local function is_old(entry) return tonumber(string.match(entry[2][#entry[2]], '^[^\n]*')) < tonumber(ARGV[1]) end
-- Most calls find nothing old: all but the first entry are read only behind one that is.
local head = call('XRANGE', P .. ':events', '-', '+', 'COUNT', 1)
if not head[1] or not is_old(head[1]) then return 0 end
local gone = {}
for _, entry in ipairs(call('XRANGE', P .. ':events', '-', '+', 'COUNT', ARGV[2])) do
  if not is_old(entry) then break end
  gone[#gone + 1] = entry[1]
end
call('XDEL', P .. ':events', unpack(gone))
return #gone
