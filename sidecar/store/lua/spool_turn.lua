-- The number of the turn that it is; the next one begins when this one has lasted long enough.
-- KEYS: the turn's hash. ARGV: seconds that a turn lasts.
-- Returns {number, 1} to whoever begins a turn, {number, 0} to everybody else.
local now = tonumber(redis.call('TIME')[1])
local age = now - tonumber(redis.call('HGET', KEYS[1], 'began') or 0)
-- A clock that was put back begins one, too.
if age >= 0 and age < tonumber(ARGV[1]) then
  return {tonumber(redis.call('HGET', KEYS[1], 'number')), 0}
end
redis.call('HSET', KEYS[1], 'began', now)
return {redis.call('HINCRBY', KEYS[1], 'number', 1), 1}
