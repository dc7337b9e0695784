-- Takes out claims that are too old, so that nobody else acts on them, and returns their spools.
-- KEYS: the claims. ARGV: the latest turn that is too old, how many at most.
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #old > 0 then
  redis.call('ZREM', KEYS[1], unpack(old))
end
return old
