-- Notes what a stretch of the audit log acted on, if the mark is still where the writer saw it.
-- KEYS: head (hash `targets`: up to which event everything is in the next), targets (sorted set)
-- ARGV: the mark as it was seen, the mark afterwards, entries
-- Returns 1 when it was moved, else 0.
if (redis.call('HGET', KEYS[1], 'targets') or '0') ~= ARGV[1] then
  return 0
end
for at = 3, #ARGV do
  redis.call('ZADD', KEYS[2], 0, ARGV[at])
end
redis.call('HSET', KEYS[1], 'targets', ARGV[2])
return 1
