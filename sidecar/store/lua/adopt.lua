-- Makes or checks the store's identity. KEYS: meta.
-- ARGV: known epoch ('' when none), epoch to make, schema, force ('1' or ''), then pairs of pepper id
-- and fingerprint: the pepper in use first, after it those that it follows.
-- Answers {'ok', epoch}, {'empty'}, {'other'} or {'pepper'}.
local known, candidate, schema, force = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch and known ~= '' and not force then
  return {'empty'}
end
if epoch and known ~= '' and known ~= epoch and not force then
  return {'other'}
end

local peppers = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 7) == 'pepper:' then peppers[#peppers + 1] = field end
end
local vouched = {}
for i = 5, #ARGV, 2 do
  vouched[#vouched + 1] = redis.call('HGET', KEYS[1], 'pepper:' .. ARGV[i]) == ARGV[i + 1]
end
if epoch and not force then
  local trusted = false
  for _, one in ipairs(vouched) do
    trusted = trusted or one
  end
  if #peppers > 0 and not trusted then
    return {'pepper'}
  end
end
if force then
  -- Whoever has another pepper finds none of the keys that are made with this one, and would call them unknown.
  for _, field in ipairs(peppers) do
    if field ~= 'pepper:' .. ARGV[5] then redis.call('HDEL', KEYS[1], field) end
  end
end

if not epoch then
  epoch = candidate
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'schema', schema)
end
if not vouched[1] then
  redis.call('HSET', KEYS[1], 'pepper:' .. ARGV[5], ARGV[6])
end
-- Secrets move from the peppers before to this one at their use. Whoever has only one of those would take them for unknown.
for i = 7, #ARGV, 2 do
  if ARGV[i] ~= ARGV[5] then
    redis.call('HDEL', KEYS[1], 'pepper:' .. ARGV[i])
  end
end
return {'ok', epoch}
