-- Takes or keeps a seat that one of many may hold. KEYS: the seat, whose turn it is (a hash). ARGV: who asks, milliseconds
-- that it lasts. Answers 0 when another holds it, else the number of the turn, which goes up whenever the holder changes: one
-- that slept through another's turn can tell.
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
local turn = redis.call("HMGET", KEYS[2], "holder", "number")
if turn[1] == ARGV[1] then
  return tonumber(turn[2])
end
redis.call("HSET", KEYS[2], "holder", ARGV[1])
return redis.call("HINCRBY", KEYS[2], "number", 1)
