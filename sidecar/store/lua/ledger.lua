-- Sent with settle_quota.lua before it.
-- Applies a stretch of one spool to one shard, exactly once: the position moves with the sums or not at all.
--
-- KEYS[1] positions  KEYS[2] totals  KEYS[3] call index  KEYS[4] call blocks  KEYS[5..] those of the plan's steps in turn
-- ARGV[1] spool id   ARGV[2] position that this shard must be at   ARGV[3] position afterwards
-- ARGV[4] MessagePack: totals, field -> nested sums   ARGV[5] seconds that totals are kept
-- ARGV[6] MessagePack: the plan, steps of {kind, expires at (0: never), what}; each takes one key, a quota two
--   kind 'sums': a hash, field -> nested sums
--   kind 'latest': a sorted set, member -> what its score is at least
--   kind 'counts': a sorted set, member -> what its score grows by
--   kind 'use': a key's use, {latest time, secret id -> {latest time, requests, networks, agents}}, newest first
--   kind 'quota': holds and counts of a key, pairs of {quota_period, tokens}
-- ARGV[7..] blocks of the call log, five each: number of calls, first and last time, key mask, block
--
-- Returns {1, position} when applied, {0, position} with the position that the shard is really at when not.

local stored = redis.call('HGET', KEYS[1], ARGV[1]) or '0'
if stored ~= ARGV[2] then
  return {0, stored}
end

-- The same as `add` in sidecar/control/nested.py.
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

-- Lua's `unpack` takes some thousand arguments, so long lists go in parts.
local PART = 1000

local function add_sums(hash, fields)
  local names = {}
  for name in pairs(fields) do
    names[#names + 1] = name
  end
  local created = 0
  for first = 1, #names, PART do
    local last = math.min(first + PART - 1, #names)
    local old = redis.call('HMGET', hash, unpack(names, first, last))
    local set = {}
    for i = first, last do
      local value = fields[names[i]]
      local packed = old[i - first + 1]
      if packed then
        local sums = cmsgpack.unpack(packed)
        if type(value) == 'table' then
          add(sums, value)
        else
          sums = sums + value
        end
        value = sums
      end
      set[#set + 1] = names[i]
      set[#set + 1] = cmsgpack.pack(value)
    end
    created = created + redis.call('HSET', hash, unpack(set))
  end
  return created
end

local RECENT = 8

-- The names of `seen` and then those of `packed`, a JSON list, newest first; nil when that changes nothing.
local function recent(packed, seen)
  if packed and #seen == 1 and cjson.encode(seen) == packed:sub(1, -2):match('^[^,]*') .. ']' then
    return nil
  end
  local kept, known = {}, {}
  for _, names in ipairs({seen, packed and cjson.decode(packed) or {}}) do
    for _, name in ipairs(names) do
      if not known[name] and #kept < RECENT then
        known[name] = true
        kept[#kept + 1] = name
      end
    end
  end
  local merged = cjson.encode(kept)
  return merged ~= packed and merged or nil
end

local function later(old, time)
  return (not old or tonumber(old) < time) and string.format('%.3f', time) or nil
end

local function add_use(hash, use)
  local names = {'last_used_at'}
  for id in pairs(use[2]) do
    for _, field in ipairs({':last_used_at', ':requests', ':networks', ':agents'}) do
      names[#names + 1] = id .. field
    end
  end
  local old, set = {}, {}
  for i, value in ipairs(redis.call('HMGET', hash, unpack(names))) do
    old[names[i]] = value
  end
  local function put(name, value)
    if value then
      set[#set + 1] = name
      set[#set + 1] = value
    end
  end
  put('last_used_at', later(old['last_used_at'], use[1]))
  for id, secret in pairs(use[2]) do
    put(id .. ':last_used_at', later(old[id .. ':last_used_at'], secret[1]))
    put(id .. ':requests', string.format('%d', (old[id .. ':requests'] or 0) + secret[2]))
    put(id .. ':networks', recent(old[id .. ':networks'], secret[3]))
    put(id .. ':agents', recent(old[id .. ':agents'], secret[4]))
  end
  if #set > 0 then
    redis.call('HSET', hash, unpack(set))
  end
  return 0
end

local KINDS = {
  sums = function(key, fields) return add_sums(KEYS[key], fields), 1 end,
  latest = function(key, times)
    for member, time in pairs(times) do
      redis.call('ZADD', KEYS[key], 'GT', string.format('%.3f', time), member)
    end
    return 0, 1
  end,
  counts = function(key, counts)
    local created = 1 - redis.call('EXISTS', KEYS[key])
    for member, count in pairs(counts) do
      redis.call('ZINCRBY', KEYS[key], count, member)
    end
    return created, 1
  end,
  use = function(key, use) return add_use(KEYS[key], use), 1 end,
  quota = function(key, uses)
    for _, use in ipairs(uses) do
      settle_quota(KEYS[key], KEYS[key + 1], use[1], use[2])
    end
    return 0, 2
  end,
}

local key = 5
for _, step in ipairs(cmsgpack.unpack(ARGV[6])) do
  local created, taken = KINDS[step[1]](key, step[3])
  if created > 0 and step[2] > 0 then
    redis.call('EXPIREAT', KEYS[key], string.format('%d', step[2]))
  end
  key = key + taken
end

local totals = cmsgpack.unpack(ARGV[4])
if next(totals) then
  add_sums(KEYS[2], totals)
  redis.call('EXPIRE', KEYS[2], ARGV[5])
end

for first = 7, #ARGV, 5 do
  local count, from, to, mask, block = unpack(ARGV, first, first + 4)
  local id = redis.call('HINCRBY', KEYS[4], 'next', 1)
  redis.call('HINCRBY', KEYS[4], 'count', count)
  redis.call('HSET', KEYS[4], id, block)
  redis.call('ZADD', KEYS[3], to, id .. ':' .. count .. ':' .. from .. ':' .. mask)
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {1, ARGV[3]}
