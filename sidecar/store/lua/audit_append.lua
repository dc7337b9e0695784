-- Appends one event to the audit log, if the chain still ends where the writer saw it end.
-- KEYS: log (stream), head (hash `sequence`, `hash`, `targets`), targets (sorted set)
-- ARGV: sequence and hash of the head that the writer saw, the event, its hash, the sequence it gets, its entry in targets or nothing
-- Returns an empty list when appended, else the head as it is now: the writer seals the event anew behind that.
local head = redis.call('HMGET', KEYS[2], 'sequence', 'hash')
local sequence, hash = head[1] or '0', head[2] or ''
if sequence ~= ARGV[1] or hash ~= ARGV[2] then
  return {sequence, hash}
end
redis.call('XADD', KEYS[1], ARGV[5] .. '-0', 'event', ARGV[3], 'hash', ARGV[4])
redis.call('HSET', KEYS[2], 'sequence', ARGV[5], 'hash', ARGV[4])
if ARGV[6] ~= '' then
  redis.call('ZADD', KEYS[3], 0, ARGV[6])
end
-- Behind an event of a version that kept no targets the mark stays, until audit_targets.lua has moved it there.
if (redis.call('HGET', KEYS[2], 'targets') or '0') == ARGV[1] then
  redis.call('HSET', KEYS[2], 'targets', ARGV[5])
end
return {}
