-- The positions of a shard and the totals that belong to them, read at one moment. KEYS: positions, totals.
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
