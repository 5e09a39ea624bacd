#!lua flags=no-writes
-- Jobs that every word of a search is found in, newest id first. What is rarest leads, a word or the state, the others are looked up.
-- A beginning of too many words leads to all jobs, and is looked for in the words of each.
-- ARGV  1 limit  2 candidates to look at  3 below this id, or ''  4 state, or ''  5 queue, or ''  6 format, or ''
--       7 pipeline, or ''  8 step, or ''  9 created at or after, or ''  10 created before, or ''
--       then per word: '=' (whole), '*' (its beginning) or '#' (the beginning of an id), and the word
-- Returns {id of the last candidate, or '' when there are no more; found...}.
local WORDS_MAX, FEW = 64, 2000
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
for i = 11, #ARGV, 2 do
  local kind, word = ARGV[i], ARGV[i + 1]
  local term = {lists = {}}
  if kind == '=' then
    term.lists = {word .. ' '}
  elseif kind == '*' then
    term.lists = expand(word)
  end
  term.beginning = #term.lists == WORDS_MAX and ' ' .. word
  if kind == '#' or (kind == '*' and string.match(word, '^%x+$')) then term.id = word end
  term.size = term.id and call('ZLEXCOUNT', key, '[#' .. term.id, '[#' .. term.id .. '\255') or 0
  for _, list in ipairs(term.lists) do term.size = term.size + call('ZLEXCOUNT', key, '[' .. list, '[' .. list .. '\255') end
  if term.beginning then term.size = math.huge end
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
local function gather_word(term)
  if term.beginning then return gather('[#', before == '' and '[#\255' or '(#' .. before, 1) end
  for _, list in ipairs(term.lists) do gather('[' .. list, before == '' and '[' .. list .. '\255' or '(' .. list .. before, #list) end
  if term.id then
    local below_all = before == '' or before > term.id .. '\255'
    gather('[#' .. term.id, below_all and '[#' .. term.id .. '\255' or '(#' .. before, 1)
  end
end

-- The indexes of a state that few jobs are in, and how many those are.
local function indexes_of(state)
  local indexes, size = {}, 0
  local counts = call('HGETALL', P .. ':counts')
  for i = 1, #counts, 2 do
    local st, queue = string.match(counts[i], '^(%d):(.*)$')
    if st == state and (ARGV[5] == '' or ARGV[5] == queue) then
      indexes[#indexes + 1], size = P .. ':jobs:' .. st .. ':' .. queue, size + counts[i + 1]
    end
  end
  return state == '1' and {P .. ':leased'} or indexes, size
end

local leads_state = false
if ARGV[4] ~= '' then
  local indexes, size = indexes_of(ARGV[4])
  if size <= FEW and size < terms[1].size then
    leads_state, candidates = true, FEW + 1
    for _, index in ipairs(indexes) do
      for _, id in ipairs(call('ZRANGE', index, 0, -1)) do
        if before == '' or id < before then ids[#ids + 1] = id end
      end
    end
  end
end
if not leads_state then gather_word(terms[1]) end
table.sort(ids, function(a, b) return a > b end)

local function has(term, id)
  if term.id and string.sub(id, 1, #term.id) == term.id then return true end
  if term.beginning then
    local words = string.match(call('GET', P .. ':body:' .. id) or '', '^[^\n]*')
    return string.find(' ' .. words, term.beginning, 1, true) ~= nil
  end
  for _, list in ipairs(term.lists) do
    if call('ZSCORE', key, list .. id) then return true end
  end
  return false
end

local function is_wanted(id)
  for i = (leads_state or terms[1].beginning) and 1 or 2, #terms do
    if not has(terms[i], id) then return false end
  end
  local job = load(id)
  return job and fits(job, {st = ARGV[4], q = ARGV[5], fm = ARGV[6]}, ARGV[7], ARGV[8], ARGV[9], ARGV[10])
end

local answer = {''}
for i = 1, math.min(candidates, #ids) do
  if #answer > limit then return answer end
  if is_wanted(ids[i]) then answer[#answer + 1] = found(ids[i]) end
  if i == candidates then answer[1] = ids[i] end
end
return answer
