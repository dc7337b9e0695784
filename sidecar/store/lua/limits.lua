-- One turn of one key, atomically: end the holds of requests that are over, take out of the counts those
-- that came to nothing, renew the holds of requests that run, then decide on the requests that ask, over all
-- limits of the key at once. What is refused takes nothing. sidecar/limits/turn.py describes the data, writes
-- ARGV and reads the answer. What many requests of a turn change is written together: each command costs more
-- than what is done between two.

local rpm, settled, holds, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NOW, LEASE, GRACE, PERIODS = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local FIRST_LIMIT, LISTS = 5, 10
local PART = 1000 -- Lua's `unpack` takes some thousand arguments

local WINDOW = 60 * 1000000
local MAX_CLOCK_SKEW = 10 * 1000000
local TICK = 100000 -- no need to write the clock and the lives of names more often
local MARGIN = 1000 -- ms by which a name outlives its last entry, more than a tick
local DAY = 86400000 -- ms

local count = {} -- the hash `counts`, with what `add` has added
local added = {} -- of this, what is still to be written
local now, period, period_end
local is_tick, has_holds, keeps_holds
local is_asked -- whether anybody asks in this turn

local function outlive(name, microseconds)
  redis.call('PEXPIRE', name, microseconds / 1000 + MARGIN)
end

local function add(field, amount)
  count[field] = (count[field] or 0) + amount
  added[field] = (added[field] or 0) + amount
end

local function forget(field)
  redis.call('HDEL', counts, field)
  count[field], added[field] = nil, nil
end

local function in_parts(list, act)
  for first = 1, #list, PART do act(unpack(list, first, math.min(first + PART - 1, #list))) end
end

-- Holds -----------------------------------------------------------------------------------------

local BOTH = 'slots+tpm' -- a place and tokens of one request in one member: each member costs in every command

local function is_period(book) return book:match('^%d') ~= nil end

-- Of a quota's hold: whether its request is over and the amount what it used, not what it reserved.
local function is_used(member) return member:match('^[^/]+/=') ~= nil end

local function book_and_amount(member)
  local book, amount = member:match('^([^/]+)/.*/(%d+)$')
  return book, tonumber(amount)
end

local function take_on(book, amount)
  if book == BOTH then
    add('slots:held', 1)
    add('tpm:held', amount)
  else
    add(book .. ':held', amount)
  end
end

local function give_back(member, book, amount)
  -- A period that is long over has lost its fields; they must not come back below zero.
  if book == BOTH then
    if count['slots:held'] then add('slots:held', -1) end
    if count['tpm:held'] then add('tpm:held', -amount) end
  elseif count[book .. ':held'] then
    add(book .. ':held', -amount)
    if is_used(member) then add(book .. ':done', -amount) end
  end
end

local new_holds = {} -- expiry and member of each hold that is taken in this turn

-- A hold that nobody has had: the names of requests are never used again.
local function hold(book, id, amount, lifetime)
  local member = book .. '/' .. id .. '/' .. amount
  new_holds[#new_holds + 1] = now + lifetime
  new_holds[#new_holds + 1] = member
  take_on(book, tonumber(amount))
  return member
end

-- Ends holds; calls `each` with member, book and amount of those that there were.
local function drop(members, each)
  local found, gone = {}, {}
  in_parts(members, function(...)
    local scores = redis.call('ZMSCORE', holds, ...)
    for index, member in ipairs({...}) do
      if scores[index] and not found[member] then
        found[member] = true
        gone[#gone + 1] = member
      end
    end
  end)
  in_parts(gone, function(...) redis.call('ZREM', holds, ...) end)
  for _, member in ipairs(gone) do
    local book, amount = book_and_amount(member)
    give_back(member, book, amount)
    if each then each(member, book, amount) end
  end
end

local function renew(member)
  if is_period(member) then
    -- A quota's hold that is gone may have been settled already, so it is never made anew.
    redis.call('ZADD', holds, 'XX', now + LEASE + GRACE, member)
  elseif redis.call('ZADD', holds, now + LEASE, member) == 1 then
    take_on(book_and_amount(member))
  end
end

-- Without holds nothing is held, whatever was counted.
local function look_for_holds()
  -- What a request of this turn used is not written yet, and may have been all that there is.
  has_holds = #new_holds > 0 or redis.call('ZCARD', holds) > 0
  if has_holds then return end
  keeps_holds = true
  for field in pairs(count) do
    if (field:match(':held$') or field:match(':done$')) and count[field] ~= 0 then forget(field) end
  end
end

local function drop_lapsed()
  drop(redis.call('ZRANGEBYSCORE', holds, '-inf', now))
  look_for_holds()
end

-- Windows ---------------------------------------------------------------------------------------

local function at(list, index) return tonumber(redis.call('LINDEX', list, index)) end

-- The least index in [low, high) whose value (at `step * index + offset`) is greater than `bound`, else `high`.
local function first_above(list, step, offset, low, high, bound)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if at(list, step * middle + offset) > bound then high = middle else low = middle + 1 end
  end
  return low
end

-- How many admissions are less than a window old; older ones are dropped.
local function admitted()
  local length = redis.call('LLEN', rpm)
  if length == 0 or at(rpm, 0) > now - WINDOW then return length end
  local first = first_above(rpm, 1, 0, 1, length, now - WINDOW)
  redis.call('LTRIM', rpm, first, -1)
  return length - first
end

-- `settled` holds pairs of a time and the tokens counted up to it, the first pair being what has left
-- the window (its time is not read). Returns the tokens within the window and the number of pairs.
local function spent()
  local pairs_kept = redis.call('LLEN', settled) / 2
  if pairs_kept == 0 then return 0, 0 end
  if pairs_kept > 1 and at(settled, 2) <= now - WINDOW then
    local first = first_above(settled, 2, 0, 2, pairs_kept, now - WINDOW)
    redis.call('LTRIM', settled, 2 * (first - 1), -1)
    pairs_kept = pairs_kept - first + 1
  end
  return at(settled, -1) - at(settled, 1), pairs_kept
end

local function settle(tokens)
  if tokens == 0 then return end
  local total = at(settled, -1)
  if total then
    redis.call('RPUSH', settled, now, total + tokens)
  else
    redis.call('RPUSH', settled, 0, 0, now, tokens)
  end
  if is_tick or not total then outlive(settled, WINDOW) end
end

-- Limits: `used` against `most`; `take` gives the hold that a request gets, `wait` the time until there is room, 0 for
-- as soon as a request under way is over. `reason` is what the refusal is called where that is not its name; what
-- `is_spent` no waiting helps before its period is over, so the client is told of it whatever else refuses.

local used_requests, used_tokens, settled_pairs, taken = 0, 0, 0, 0
local takes_place = false -- a request's place that no member says yet
local counted_at, counted_in -- where a request is counted: its time in `rpm`, its quota period

local function tokens_of_period() return count[period .. ':tokens'] or 0 end

-- Not only reserved: no request that ends will make room.
local function is_spent(quota) return tokens_of_period() + (count[period .. ':done'] or 0) >= quota.most end

local KINDS = {
  { name = 'quota_requests',
    used = function() return count[period .. ':requests'] or 0 end,
    take = function()
      add(period .. ':requests', 1)
      counted_in = period
    end,
    is_spent = function() return true end,
    wait = function() return period_end - now end },
  { name = 'quota_tokens', holds = true,
    used = function() return tokens_of_period() + (count[period .. ':held'] or 0) end,
    take = function(id, tokens)
      return hold(period, id, tokens, LEASE + GRACE)
    end,
    is_spent = is_spent,
    reason = function(limit) return is_spent(limit) and limit.name or 'quota_reserved' end,
    wait = function(limit) return is_spent(limit) and period_end - now or 0 end },
  { name = 'max_concurrency', holds = true,
    used = function() return count['slots:held'] or 0 end,
    take = function() takes_place = true end,
    wait = function() return 0 end },
  { name = 'rpm',
    open = function() used_requests = admitted() end,
    used = function() return used_requests + taken end,
    take = function()
      taken = taken + 1
      counted_at = now
    end,
    wait = function(limit)
      local index = used_requests + taken - limit.most
      return index < used_requests and at(rpm, index) + WINDOW - now or WINDOW
    end },
  { name = 'tpm', holds = true,
    open = function() used_tokens, settled_pairs = spent() end,
    used = function() return used_tokens + (count['tpm:held'] or 0) end,
    take = function(id, tokens)
      local book = takes_place and BOTH or 'tpm'
      takes_place = false
      return hold(book, id, tokens, LEASE)
    end,
    wait = function(limit)
      local held = count['tpm:held'] or 0
      if held >= limit.most or settled_pairs == 0 then return 0 end
      local pair = first_above(settled, 2, 1, 1, settled_pairs, at(settled, -1) + held - limit.most)
      return at(settled, 2 * pair) + WINDOW - now
    end },
}

local function open_limits()
  local open = {}
  for index, kind in ipairs(KINDS) do
    local mode, most = ARGV[FIRST_LIMIT + index - 1]:match('^(~?)(%d+)$')
    if most then
      kind.most, kind.shadow = tonumber(most), mode == '~'
      if kind.holds and has_holds == nil then drop_lapsed() end
      if kind.open then kind.open() end
      open[#open + 1] = kind
    end
  end
  return open
end

local function left(kind)
  return kind.most and math.max(0, kind.most - kind.used()) or -1
end

-- Until the whole limit is free again when nothing more is asked.
local function requests_reset()
  if taken > 0 then return WINDOW end
  return used_requests > 0 and at(rpm, -1) + WINDOW - now or 0
end

local function tokens_reset()
  if (count['tpm:held'] or 0) > 0 then return WINDOW end
  return used_tokens > 0 and at(settled, -2) + WINDOW - now or 0
end

local function reason(limit)
  return limit and (limit.reason and limit:reason() or limit.name) or ''
end

-- Of two limits that refuse, `one` being the earlier in KINDS, the one that the client is told.
local function lasting(one, other)
  if not one then return other end
  if one.is_spent and one:is_spent() then return one end
  return other:wait() > one:wait() and other or one
end

local function decide(limits, id, tokens)
  local refused, shadowed
  for _, limit in ipairs(limits) do
    if limit.used() >= limit.most then
      if limit.shadow then shadowed = lasting(shadowed, limit) else refused = lasting(refused, limit) end
    end
  end
  local members = {}
  counted_at, counted_in = nil, nil
  for _, limit in ipairs(limits) do
    -- What one limit in shadow would have refused takes nothing from any of them, as if they were enforced.
    if not refused and not (shadowed and limit.shadow) then members[#members + 1] = limit.take(id, tokens) end
  end
  if takes_place then members[#members + 1] = hold('slots', id, 1, LEASE) end
  takes_place = false
  local quota_requests, quota_tokens, _, requests, per_minute = unpack(KINDS)
  return {
    reason(refused), refused and '' or reason(shadowed), refused and refused:wait() or 0, members,
    left(requests), requests_reset(), left(per_minute), tokens_reset(),
    left(quota_requests), left(quota_tokens), period and period_end - now or 0,
    (counted_at or counted_in) and { counted_at or requests.most and 0 or -1, counted_in or '' } or nil,
  }
end

-- The turn --------------------------------------------------------------------------------------

local function read_counts()
  local flat = redis.call('HGETALL', counts)
  for index = 1, #flat, 2 do count[flat[index]] = tonumber(flat[index + 1]) or flat[index + 1] end
end

-- Time never runs backwards for a key. After a larger step back its windows and holds start anew:
-- kept, they would refuse for as long as the step.
local function set_clock()
  now = tonumber(NOW)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
  end
  local last = count.clock or 0
  if last > now + MAX_CLOCK_SKEW then
    redis.call('DEL', rpm, settled, holds)
  elseif last > now then
    now = last
  end
  is_tick = now - last >= TICK or now < last
end

-- The period that `now` is in, of those that the caller offers; use of periods not offered is forgotten.
-- False when it is in none of them, as the caller's clock is wrong by days: nothing may be forgotten for such
-- a caller, and a name that lives as long as a period that is over is gone at once, with what is held.
local function set_period()
  local words, offered = {}, {}
  for word in PERIODS:gmatch('%S+') do words[#words + 1] = word end
  for index = 1, #words - 2, 2 do
    offered[words[index + 1]] = true
    if words[index] * 1000000 <= now and now < words[index + 2] * 1000000 then
      period, period_end = words[index + 1], words[index + 2] * 1000000
    end
  end
  if not period then return #words == 0 end
  if count.period ~= period then
    for field in pairs(count) do
      local name = field:match('^(%d.*):')
      if name and not offered[name] then forget(field) end
    end
    redis.call('HSET', counts, 'period', period)
  end
  return true
end

-- Of a quota the ledger takes away what was used when it counts it (settle_quota.lua), by the same name.
local function hold_used(member, book, tokens)
  if tokens <= 0 or not count[book .. ':held'] then return end
  hold(book, '=' .. member:match('^[^/]+/(.*)/%d+$'), string.format('%.0f', tokens), LEASE + GRACE)
  add(book .. ':done', tokens)
  -- What it stands in for may have been the last hold, whose end took the name with its life.
  keeps_holds = true
end

-- Ends of requests: pairs of a hold and the tokens that were used, -1 for as many as were estimated.
local function finish(ended)
  local members, used, tokens = {}, {}, 0
  for index, pair in ipairs(ended) do
    members[index] = pair[1]
    used[pair[1]] = used[pair[1]] or pair[2]
  end
  drop(members, function(member, book, estimate)
    if book == 'tpm' or book == BOTH then
      tokens = tokens + (used[member] < 0 and estimate or used[member])
    elseif is_period(book) then
      hold_used(member, book, used[member])
    end
  end)
  settle(tokens)
end

-- Requests that came to nothing: pairs of a time in `rpm` and a quota period, as the answer to each said where it was counted.
local function withdraw(withdrawn)
  local times = {}
  for _, pair in ipairs(withdrawn) do
    local at, field = pair[1], pair[2] .. ':requests'
    if at > now - WINDOW then times[at] = (times[at] or 0) + 1 end
    -- A period that is long over has lost its field, which must not come back below zero.
    if (count[field] or 0) > 0 then add(field, -1) end
  end
  -- Each by its own time: were it the oldest that goes, retries that fail would keep the window full of ever newer ones.
  -- Looked for from the newest on, near which it is.
  for at, many in pairs(times) do redis.call('LREM', rpm, -many, at) end
end

local function write()
  in_parts(new_holds, function(...) redis.call('ZADD', holds, ...) end)
  if keeps_holds or is_tick then outlive(holds, LEASE + GRACE) end
  for field, amount in pairs(added) do
    if amount ~= 0 then redis.call('HINCRBY', counts, field, amount) end
  end
  if taken > 0 then
    local times = {}
    for index = 1, taken do times[index] = now end
    in_parts(times, function(...) redis.call('RPUSH', rpm, ...) end)
    if used_requests == 0 then outlive(rpm, WINDOW) end
  end
  if is_tick then
    -- Whatever the turn is about: those who take are rarely in the one that is a tick when many others are refused, and who asks
    -- as soon as the last answer is there comes right behind the one that says the end. Where nobody asks, no window was looked at.
    if used_requests > 0 or not is_asked then outlive(rpm, WINDOW) end
    if settled_pairs > 0 or not is_asked then outlive(settled, WINDOW) end
    redis.call('HSET', counts, 'clock', now)
    local shortest = WINDOW + LEASE + GRACE
    if period then
      redis.call('PEXPIREAT', counts, period_end / 1000 + DAY)
    elseif redis.call('PTTL', counts) < shortest / 1000 then
      -- Who offers no period may know less than others: a stream of before the quota must not cut its memory short.
      outlive(counts, shortest)
    end
  end
end

read_counts()
set_clock()
-- Before anything is done: all of the turn is said again, by this time.
if not set_period() then return cmsgpack.pack(now) end

local ended, renewed, asking, withdrawn = unpack(cmsgpack.unpack(ARGV[LISTS]))
is_asked = #asking > 0
finish(ended)
if #withdrawn > 0 then withdraw(withdrawn) end
if #renewed > 0 then
  -- Holds may be gone by themselves, or by a step back: renewed, they must not count a second time.
  look_for_holds()
  for _, member in ipairs(renewed) do renew(member) end
  keeps_holds = true
  has_holds = nil
end

local answers = {}
if is_asked then
  local limits = open_limits()
  for index, ask in ipairs(asking) do answers[index] = decide(limits, ask[1], ask[2]) end
end
write()
return cmsgpack.pack(answers)
