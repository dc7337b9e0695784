-- Sent with settle_quota.lua before it.
-- Applies a stretch of one spool to one shard, exactly once: the position moves with the sums or not at all.
--
-- KEYS[1] positions  KEYS[2] totals  KEYS[3] call index  KEYS[4] call blocks  KEYS[5..] those of the plan's steps in turn
-- ARGV[1] spool id   ARGV[2] position that this shard must be at   ARGV[3] position afterwards
-- ARGV[4] seconds that totals are kept   ARGV[5] number of arguments that are totals
-- ARGV[6] MessagePack: the plan, steps of {kind, expires at (0: never), number of arguments}; each takes one key, quota and calls two
-- ARGV[7..] names and packed sums of the totals, then the arguments of one step after the other, always in pairs
--   kind 'sums': a hash, names and packed sums
--   kind 'use': the use of keys, names and packed maps of secret id -> {latest time, requests, networks, agents}
--   kind 'latest': a sorted set, what a score is at least and its member
--   kind 'counts': a sorted set, members and what their scores grow by
--   kind 'quota': holds and counts of a key, quota_period and tokens
--   kind 'calls': index and blocks of the call log of calls without a key; number of calls, first and last time, block
-- and then blocks of the call log, five each: number of calls, first and last time, key mask, block
--
-- What is packed stays packed unless there is something to add it to: most fields of many keys are new.
--
-- Returns {1, position} when applied, {0, position} with the position that the shard is really at when not.

local stored = redis.call('HGET', KEYS[1], ARGV[1]) or '0'
if stored ~= ARGV[2] then
  return {0, stored}
end

-- The same as `add` in sidecar/control/totals/nested.py.
local function add(into, delta)
  for name, value in pairs(delta) do
    local mine = into[name]
    if mine == nil then
      into[name] = value
    elseif type(value) == 'table' then
      add(mine, value)
    else
      into[name] = mine + value
    end
  end
end

-- Lua's `unpack` takes some thousand arguments, so long lists go in parts. Even, for arguments come in pairs.
local PART = 1000

-- Calls `each` with the first and last place of every part of the arguments from `first` to `last`.
local function in_parts(first, last, each)
  for place = first, last, PART do
    each(place, math.min(place + PART - 1, last))
  end
end

-- Merges names and packed values into a hash; returns how many names are new.
local function merge(hash, first, last, into)
  local created = 0
  in_parts(first, last, function(from, to)
    local names = {}
    for i = from, to, 2 do
      names[#names + 1] = ARGV[i]
    end
    for i, packed in ipairs(redis.call('HMGET', hash, unpack(names))) do
      if packed then
        local place = from + 2 * i - 1
        local mine = cmsgpack.unpack(packed)
        into(mine, cmsgpack.unpack(ARGV[place]))
        ARGV[place] = cmsgpack.pack(mine)
      end
    end
    created = created + redis.call('HSET', hash, unpack(ARGV, from, to))
  end)
  return created
end

-- Of a use that lies further ahead than this a clock told that was put back since: it is not the latest for as long as that was ahead.
local AHEAD = tonumber(redis.call('TIME')[1]) + 86400

local RECENT = 8

-- The names of `seen`, the newer ones, and then those of `known`.
local function recent(seen, known)
  if #seen == 1 and seen[1] == known[1] then
    return known
  end
  local kept, taken = {}, {}
  for _, names in ipairs({seen, known}) do
    for _, name in ipairs(names) do
      if not taken[name] and #kept < RECENT then
        taken[name] = true
        kept[#kept + 1] = name
      end
    end
  end
  return kept
end

-- More than a key may have at a time. With each use all that are kept are read and written.
local SECRETS = 32

-- Drops all secrets but those that were used last.
local function bound(mine)
  local ids = {}
  for id in pairs(mine) do
    ids[#ids + 1] = id
  end
  if #ids > SECRETS then
    table.sort(ids, function(one, other) return mine[one][1] > mine[other][1] end)
    for place = SECRETS + 1, #ids do
      mine[ids[place]] = nil
    end
  end
end

local function latest_of(use)
  local latest = 0
  for _, new in pairs(use) do
    latest = math.max(latest, new[1])
  end
  return latest
end

local function add_use(mine, use)
  for _, old in pairs(mine) do
    if old[1] > AHEAD then
      old[1] = math.min(old[1], latest_of(use))
    end
  end
  for id, new in pairs(use) do
    local old = mine[id]
    if old then
      old[1] = math.max(old[1], new[1])
      old[2] = old[2] + new[2]
      old[3] = recent(new[3], old[3])
      old[4] = recent(new[4], old[4])
    else
      mine[id] = new
    end
  end
  bound(mine)
end

-- Puts a block into a call log.
local function keep(index, blocks, count, from, to, mask, block)
  local id = redis.call('HINCRBY', blocks, 'next', 1)
  redis.call('HINCRBY', blocks, 'count', count)
  redis.call('HSET', blocks, id, block)
  redis.call('ZADD', index, to, id .. ':' .. count .. ':' .. from .. ':' .. mask)
end

-- Takes out those of the members in these arguments (score, member, …) whose scores are not to be believed.
local function forget_ahead(set, from, to)
  local members = {}
  for i = from + 1, to, 2 do
    members[#members + 1] = ARGV[i]
  end
  for i, score in ipairs(redis.call('ZMSCORE', set, unpack(members))) do
    if score and tonumber(score) > AHEAD then
      redis.call('ZREM', set, members[i])
    end
  end
end

-- Each takes the place of its key and of its arguments, and returns how many names are new, which says whether a
-- hash or set has just been made, and the number of its keys.
local KINDS = {
  sums = function(key, first, last) return merge(KEYS[key], first, last, add), 1 end,
  use = function(key, first, last) return merge(KEYS[key], first, last, add_use), 1 end,
  latest = function(key, first, last)
    local newest = redis.call('ZRANGE', KEYS[key], -1, -1, 'WITHSCORES')[2]
    local some_are_ahead = newest and tonumber(newest) > AHEAD
    in_parts(first, last, function(from, to)
      if some_are_ahead then
        forget_ahead(KEYS[key], from, to)
      end
      redis.call('ZADD', KEYS[key], 'GT', unpack(ARGV, from, to))
    end)
    return 0, 1
  end,
  counts = function(key, first, last)
    local created = 1 - redis.call('EXISTS', KEYS[key])
    in_parts(first, last, function(from, to)
      local members, scores = {}, {}
      for i = from, to, 2 do
        members[#members + 1] = ARGV[i]
      end
      -- ZINCRBY takes one member at a time, which is a call for each.
      for i, score in ipairs(redis.call('ZMSCORE', KEYS[key], unpack(members))) do
        scores[2 * i - 1] = (score or 0) + ARGV[from + 2 * i - 1]
        scores[2 * i] = members[i]
      end
      redis.call('ZADD', KEYS[key], unpack(scores))
    end)
    return created, 1
  end,
  quota = function(key, first, last)
    for i = first, last, 2 do
      settle_quota(KEYS[key], KEYS[key + 1], ARGV[i], tonumber(ARGV[i + 1]))
    end
    return 0, 2
  end,
  calls = function(key, first, last)
    local count, from, to, block = unpack(ARGV, first, last)
    keep(KEYS[key], KEYS[key + 1], count, from, to, 0, block)
    return 0, 2
  end,
}

local place = 7
local totals = tonumber(ARGV[5])
if totals > 0 then
  merge(KEYS[2], place, place + totals - 1, add)
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
place = place + totals

local key = 5
for _, step in ipairs(cmsgpack.unpack(ARGV[6])) do
  local created, taken = KINDS[step[1]](key, place, place + step[3] - 1)
  if created > 0 and step[2] > 0 then
    redis.call('EXPIREAT', KEYS[key], string.format('%d', step[2]))
  end
  key = key + taken
  place = place + step[3]
end

for first = place, #ARGV, 5 do
  keep(KEYS[3], KEYS[4], unpack(ARGV, first, first + 4))
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {1, ARGV[3]}
