#!lua flags=no-writes
-- Jobs that every word of a search is found in, newest id first. The rarest word leads, the others are looked up.
-- ARGV  1 limit  2 candidates to look at  3 below this id, or ''  4 state, or ''  5 queue, or ''  6 format, or ''
--       7 created at or after, or ''  8 created before, or ''
--       then per word: '=' (whole), '*' (its beginning) or '#' (the beginning of an id), and the word
-- Returns {id of the last candidate, or '' when there are no more; found...}.
local WORDS_MAX = 64
local limit, candidates, before = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local key = P .. ':words'

-- The distinct words that begin so, one seek each.
local function expand(beginning)
  local list, from = {}, '[' .. beginning
  while #list < WORDS_MAX do
    local member = call('ZRANGEBYLEX', key, from, '[' .. beginning .. '\255', 'LIMIT', 0, 1)[1]
    if not member then break end
    local word = string.match(member, '^%S+')
    list[#list + 1] = word .. ' '
    from = '(' .. word .. ' \255'
  end
  return list
end

local terms = {}
for i = 9, #ARGV, 2 do
  local kind, word = ARGV[i], ARGV[i + 1]
  local term = {lists = {}}
  if kind == '=' then
    term.lists = {word .. ' '}
  elseif kind == '*' then
    term.lists = expand(word)
  end
  if kind == '#' or (kind == '*' and string.match(word, '^%x+$')) then term.id = word end
  term.size = term.id and call('ZLEXCOUNT', key, '[#' .. term.id, '[#' .. term.id .. '\255') or 0
  for _, list in ipairs(term.lists) do term.size = term.size + call('ZLEXCOUNT', key, '[' .. list, '[' .. list .. '\255') end
  terms[#terms + 1] = term
end
table.sort(terms, function(a, b) return a.size < b.size end)

local ids, seen = {}, {}
local function gather(first, last, skipped)
  for _, member in ipairs(call('ZREVRANGEBYLEX', key, last, first, 'LIMIT', 0, candidates)) do
    local id = string.sub(member, skipped + 1)
    if not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
end
for _, list in ipairs(terms[1].lists) do gather('[' .. list, before == '' and '[' .. list .. '\255' or '(' .. list .. before, #list) end
if terms[1].id then
  local below_all = before == '' or before > terms[1].id .. '\255'
  gather('[#' .. terms[1].id, below_all and '[#' .. terms[1].id .. '\255' or '(#' .. before, 1)
end
table.sort(ids, function(a, b) return a > b end)

local function has(term, id)
  if term.id and string.sub(id, 1, #term.id) == term.id then return true end
  for _, list in ipairs(term.lists) do
    if call('ZSCORE', key, list .. id) then return true end
  end
  return false
end

local function fits(id)
  for i = 2, #terms do
    if not has(terms[i], id) then return false end
  end
  local job = call('HMGET', P .. ':job:' .. id, 'st', 'q', 'fm', 'cr')
  local function is(n, wanted) return wanted == '' or job[n] == wanted end
  return job[1] and is(1, ARGV[4]) and is(2, ARGV[5]) and is(3, ARGV[6])
    and (ARGV[7] == '' or tonumber(job[4]) >= tonumber(ARGV[7])) and (ARGV[8] == '' or tonumber(job[4]) < tonumber(ARGV[8]))
end

local answer = {''}
for i = 1, math.min(candidates, #ids) do
  if #answer > limit then return answer end
  if fits(ids[i]) then answer[#answer + 1] = found(ids[i]) end
  if i == candidates then answer[1] = ids[i] end
end
return answer
