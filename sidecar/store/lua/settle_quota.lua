-- For the ledger's script, which is sent with this text before its own: turns what a request reserved
-- of a token quota into what it used. `entry` is the event's `quota_period`; `holds` and `counts` are
-- the names of its key (names.limit); `tokens` a number. Call it once for each event that has an entry.
local function settle_quota(holds, counts, entry, tokens)
  local period, request, reserved = entry:match('^([^/]+)/(.*)/(%d+)$')
  if not period then return end
  local function give_back(field, amount)
    if redis.call('HEXISTS', counts, period .. field) == 1 then redis.call('HINCRBY', counts, period .. field, '-' .. amount) end
  end
  if redis.call('ZREM', holds, entry) == 1 then
    give_back(':held', reserved)
  elseif tokens > 0 then
    -- The worker has said already that the request is over (hold_used in limits.lua).
    local used = string.format('%.0f', tokens)
    if redis.call('ZREM', holds, period .. '/=' .. request .. '/' .. used) == 1 then
      give_back(':held', used)
      give_back(':done', used)
    end
  end
  if tokens > 0 then redis.call('HINCRBY', counts, period .. ':tokens', tokens) end
  -- A late event may bring a name back that had run out.
  if redis.call('PTTL', counts) == -1 then redis.call('PEXPIRE', counts, 40 * 86400000) end
end
