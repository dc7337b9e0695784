-- The members with the largest sums over sorted sets, of each set only the first ones.
-- KEYS: the sets. ARGV: how many members of each set, how many to return.
-- Returns member and sum by turns, the largest sum first.
local first, most = ARGV[1] - 1, tonumber(ARGV[2])
local sums, best = {}, {}

for _, set in ipairs(KEYS) do
  local found = redis.call('ZRANGE', set, 0, first, 'REV', 'WITHSCORES')
  for index = 1, #found, 2 do
    sums[found[index]] = (sums[found[index]] or 0) + found[index + 1]
  end
end

-- Most are smaller than the smallest of the best: no need to sort them.
for member, sum in pairs(sums) do
  local place = #best
  if place < most or sum > sums[best[place]] then
    if place == most then best[place] = nil else place = place + 1 end
    while place > 1 and sums[best[place - 1]] < sum do
      best[place] = best[place - 1]
      place = place - 1
    end
    best[place] = member
  end
end

local answer = {}
for _, member in ipairs(best) do
  answer[#answer + 1] = member
  answer[#answer + 1] = tostring(sums[member])
end
return answer
