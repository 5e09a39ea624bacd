-- Stands before the scripts that write results. Writes a document, never over a SUCCESS, and tells those who wait for it; 0 keeps it
-- for ever. Returns 1 when it was written.
local function write(key, document, kept_s)
  local old = redis.call('GET', key)
  local is_done = old and string.find(old, '"status": ?"SUCCESS"') == 2
  if old and not is_done then
    local ok, known = pcall(cjson.decode, old)
    is_done = ok and type(known) == 'table' and known.status == 'SUCCESS'
  end
  if is_done then return 0 end
  if kept_s == '0' then redis.call('SET', key, document) else redis.call('SETEX', key, kept_s, document) end
  redis.call('PUBLISH', key, document)
  return 1
end

