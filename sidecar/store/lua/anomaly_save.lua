-- Saves one shard's part of the anomaly detection in one step, so that no page is queued without the state that led to it.
-- KEYS: state, records, index, outbox, open, subjects.
-- ARGV: number of states, (key id, memory)…; number of records, (id, start, state, entry in subjects,
-- 1 when its mute was given or ended by whoever saves it, JSON)…;
-- number of messages, (name, message)…; records to keep of what is over.
local at = 1
local function take()
  local value = ARGV[at]
  at = at + 1
  return value
end

for _ = 1, tonumber(take()) do
  local key_id = take()
  redis.call('HSET', KEYS[1], key_id, take())
end

for _ = 1, tonumber(take()) do
  local id, start, state, entry, mutes, record = take(), take(), take(), take(), take(), take()
  local known = redis.call('HGET', KEYS[2], id)
  -- What another instance acknowledged in the meantime must not be opened again by the one that still follows it.
  local settled = known and string.find(known, '"state":"acknowledged"', 1, true) and not string.find(record, '"state":"acknowledged"', 1, true)
  if not settled then
    -- Nor must a mute that another instance took, or ended, be lost with one who has not heard of it. As text: what Lua makes of
    -- the JSON loses digits of every time in it. In JSON this text begins nothing but the member, for quotes in values are escaped.
    local kept = known and mutes ~= '1' and string.match(known, '"muted_until":[^,}]*')
    if kept then
      record = string.gsub(record, '"muted_until":[^,}]*', kept, 1)
    end
    redis.call('HSET', KEYS[2], id, record)
    redis.call('ZADD', KEYS[3], start, id)
    redis.call('ZADD', KEYS[6], 0, entry)
    if state == 'open' then
      redis.call('ZADD', KEYS[5], start, id)
    else
      redis.call('ZREM', KEYS[5], id)
    end
  end
end

for _ = 1, tonumber(take()) do
  local name = take()
  -- A message that is there already keeps the count of its attempts.
  redis.call('HSETNX', KEYS[4], name, take())
end

local function drop(id, record)
  local readable, one = pcall(cjson.decode, record or '')
  if readable then
    -- As `entry_of` in sidecar/control/anomaly/index.py writes it.
    local subject = one.key_id ~= '' and one.key_id or one.source
    redis.call('ZREM', KEYS[6], subject .. '\0' .. string.format('%020.6f', one.started_at) .. '\0' .. id)
  end
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
end

-- What is open is passed over, however old it is: strangers make anomalies of their networks, and must push no page out.
-- Slices bound what one save looks at; where thousands are open, the next one that finds fewer of them drops what is left.
local SLICE, SLICES = 200, 25
local surplus = redis.call('ZCARD', KEYS[3]) - redis.call('ZCARD', KEYS[5]) - tonumber(take())
local passed = 0
for _ = 1, SLICES do
  local ids = surplus > 0 and redis.call('ZRANGE', KEYS[3], passed, passed + SLICE - 1) or {}
  if #ids == 0 then
    break
  end
  local opened = redis.call('ZMSCORE', KEYS[5], unpack(ids))
  for place, id in ipairs(ids) do
    if surplus == 0 then
      break
    end
    -- An older version wrote no set of the open ones. In JSON this text is nothing but the member.
    local record = not opened[place] and redis.call('HGET', KEYS[2], id)
    if opened[place] or (record and string.find(record, '"state":"open"', 1, true)) then
      passed = passed + 1
    else
      drop(id, record)
      surplus = surplus - 1
    end
  end
end
