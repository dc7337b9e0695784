-- For the ledger's script, which is sent with this text before its own: turns what a request reserved
-- of a token quota into what it used. `entry` is the event's `quota_period`; `holds` and `counts` are
-- the names of its key (names.limit); `tokens` a number. Call it once for each event that has an entry.
local function settle_quota(holds, counts, entry, tokens)
  local period, reserved = entry:match('^([^/]+)/.*/(%d+)$')
  if not period then return end
  if tokens > 0 then redis.call('HINCRBY', counts, period .. ':tokens', tokens) end
  if redis.call('ZREM', holds, entry) == 1 and redis.call('HEXISTS', counts, period .. ':held') == 1 then
    redis.call('HINCRBY', counts, period .. ':held', -reserved)
  end
  -- A late event may bring a name back that had run out.
  if redis.call('PTTL', counts) == -1 then redis.call('PEXPIRE', counts, 40 * 86400000) end
end
