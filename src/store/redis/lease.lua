-- Leases the first letter that is due, hiding it from others for ARGV[1] milliseconds. KEYS: the queue, the numbers of leases.
-- A letter due further ahead than ARGV[2] milliseconds, the longest delay, was queued before the clock was set back, and is due now.
-- ARGV[3]: "all" letters, or only "new" ones, which were never leased; these are searched for among the first MOST letters.
-- Returns {letter, number of leases} or {}.
local MOST = 1000
local new = ARGV[3] == 'new'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function first(from, to)
  for _, letter in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], from, to, 'LIMIT', 0, new and MOST or 1)) do
    if not new or redis.call('HEXISTS', KEYS[2], letter) == 0 then return letter end
  end
end
local letter = first('-inf', now) or first(now + tonumber(ARGV[2]), '+inf')
if not letter then return {} end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), letter)
return {letter, redis.call('HINCRBY', KEYS[2], letter, 1)}
