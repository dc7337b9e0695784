-- Replaces a key record if nobody else has meanwhile. KEYS: the key's hash.
-- ARGV: revision that is to be replaced ('0': there must be none), record, its revision, '1' if it is revoked.
-- Answers 1 done, 0 the revision is another, -1 no such key, -2 the key is revoked, -3 the key exists.
local revision, revoked = unpack(redis.call('HMGET', KEYS[1], 'revision', 'revoked'))
if ARGV[1] == '0' then
  if revision then
    return -3
  end
elseif not revision then
  return -1
elseif revoked == '1' then
  -- Final for every writer, however late or old it is.
  return -2
elseif revision ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'record', ARGV[2], 'revision', ARGV[3], 'revoked', ARGV[4])
return 1
