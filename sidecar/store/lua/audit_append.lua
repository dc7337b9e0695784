-- Appends one event to the audit log, if the chain still ends where the writer saw it end.
-- KEYS: log (stream), head (hash `sequence`, `hash`)
-- ARGV: sequence and hash of the head that the writer saw, the event, its hash, the sequence it gets
-- Returns an empty list when appended, else the head as it is now: the writer seals the event anew behind that.
local head = redis.call('HMGET', KEYS[2], 'sequence', 'hash')
local sequence, hash = head[1] or '0', head[2] or ''
if sequence ~= ARGV[1] or hash ~= ARGV[2] then
  return {sequence, hash}
end
redis.call('XADD', KEYS[1], ARGV[5] .. '-0', 'event', ARGV[3], 'hash', ARGV[4])
redis.call('HSET', KEYS[2], 'sequence', ARGV[5], 'hash', ARGV[4])
return {}
