-- Replaces the record of an admin token if it is still as the writer saw it. KEYS: the tokens' hash.
-- ARGV: digest, record as it was seen, digest and record afterwards, '1' if another token of role admin must remain.
-- Answers 1 done, 0 the record is another, -1 there is no other such token.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
if ARGV[5] == '1' then
  local admins = 0
  for _, record in ipairs(redis.call('HVALS', KEYS[1])) do
    -- What a newer version wrote, or a hand, counts for nothing here.
    local ok, token = pcall(cjson.decode, record)
    if ok and type(token) == 'table' and token.role == 'admin' and not token.revoked_at then
      admins = admins + 1
    end
  end
  if admins < 2 then
    return -1
  end
end
if ARGV[3] ~= ARGV[1] then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
return 1
