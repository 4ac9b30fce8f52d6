-- Hides the first of the letters that are due from others for ARGV[1] milliseconds. KEYS: the queue, the number of leases.
-- A letter that is due in longer than any is put off was put there before the clock was set back, and is due now: ARGV[2] milliseconds.
-- ARGV[3]: among "all" letters, or the "new" ones, which were never leased; these are looked for behind so many others at most.
-- Returns {letter, how often it was leased} or {}.
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
