-- Drops blocks from a shard's call log. KEYS: index, blocks. ARGV: members of the index. Returns the number of calls dropped.
local dropped, latest = 0, tonumber(redis.call('HGET', KEYS[2], 'trimmed') or '0')
for _, member in ipairs(ARGV) do
  local score = redis.call('ZSCORE', KEYS[1], member)
  if score then
    local id, count = member:match('^(%d+):(%d+):')
    redis.call('ZREM', KEYS[1], member)
    redis.call('HDEL', KEYS[2], id)
    dropped = dropped + tonumber(count)
    latest = math.max(latest, tonumber(score))
  end
end
if dropped > 0 then
  redis.call('HINCRBY', KEYS[2], 'count', -dropped)
  redis.call('HINCRBY', KEYS[2], 'trims', 1)
  redis.call('HSET', KEYS[2], 'trimmed', string.format('%.17g', latest))
end
return dropped
