-- Gives messages back to their queues, to be served next, unless a sign of life says that their keeper is there. Each gets a fresh
-- delivery tag, so that a late ack by the one who had it cannot delete the next one's copy.
-- KEYS: unacked, unacked_index, the keeper's tags, its sign of life, the set of all processes.
-- ARGV: the keeper, prefix of all keys, prefix of inboxes, separator of steps, `all` or `these`, an id for fresh tags, the steps as
-- JSON, then the tags (of `these`). With `these` the keeper itself asks, and its sign of life is no hindrance.
-- Returns how many were given back; -1: the keeper lives.
if ARGV[5] == 'all' and redis.call('EXISTS', KEYS[4]) == 1 then return -1 end
local steps = cjson.decode(ARGV[7])
local tags = {}
if ARGV[5] == 'all' then
  tags = redis.call('SMEMBERS', KEYS[3])
else
  for i = 8, #ARGV do tags[#tags + 1] = ARGV[i] end
end

-- The list for a message of this queue: by its priority, rounded down to a step.
local function list(queue, raw)
  local priority = tonumber(string.match(raw, '.*"priority": ?(%d)')) or 0
  local step = 0
  for _, s in ipairs(steps) do
    if s <= priority and s > step then step = s end
  end
  return ARGV[2] .. queue .. (step == 0 and '' or ARGV[4] .. step)
end

local given = 0
for n, tag in ipairs(tags) do
  local kept = redis.call('HGET', KEYS[1], tag)
  if kept then
    local raw, queue = string.match(kept, '^%[(.*), "[^"]*", ("[^"]*")%]$')
    if raw then
      local at = nil
      local from = 1
      while true do
        local found = string.find(raw, '"delivery_tag": ?"', from)
        if not found then break end
        at, from = found, found + 1
      end
      local fresh = ARGV[6] .. '-' .. n
      local head, rest = string.sub(raw, 1, at - 1), string.sub(raw, at)
      rest = string.gsub(rest, '^"delivery_tag": ?"[^"]*"', '"delivery_tag": "' .. fresh .. '"', 1)
      if not string.find(raw, '"millrace_tag": "', 1, true) then rest = '"millrace_tag": "' .. tag .. '", ' .. rest end
      redis.call('RPUSH', list(cjson.decode('[' .. queue .. ']')[1], raw), head .. rest)
      given = given + 1
    end
  end
  redis.call('HDEL', KEYS[1], tag)
  redis.call('ZREM', KEYS[2], tag)
  redis.call('SREM', KEYS[3], tag)
end
if ARGV[5] == 'all' then
  -- What was on its way to the keeper, by its inboxes: their names are in the set beside its tags.
  local names = KEYS[3] .. ':inboxes'
  for _, queue in ipairs(redis.call('SMEMBERS', names)) do
    while true do
      local raw = redis.call('LPOP', ARGV[3] .. queue)
      if not raw then break end
      redis.call('RPUSH', list(queue, raw), raw)
      given = given + 1
    end
  end
  redis.call('DEL', names, KEYS[3])
  redis.call('SREM', KEYS[5], ARGV[1])
end
return given
