-- Takes or keeps a seat that one of many may hold. KEYS: the seat. ARGV: who asks, milliseconds that it lasts.
-- Answers 1 when it is held by whoever asks.
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1
