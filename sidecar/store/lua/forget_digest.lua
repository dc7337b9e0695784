-- Removes an index entry if it still leads to this key. KEYS: the digest's name. ARGV: key id.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
