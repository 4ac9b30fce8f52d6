-- Hides the letter that is due first from others for ARGV[1] milliseconds. KEYS: the queue, the number of leases.
-- A letter that is due in longer than any is put off was put there before the clock was set back, and is due now: ARGV[2] milliseconds.
-- Returns {letter, how often it was leased} or {}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)
if #due == 0 then due = redis.call('ZRANGEBYSCORE', KEYS[1], now + tonumber(ARGV[2]), '+inf', 'LIMIT', 0, 1) end
if #due == 0 then return {} end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), due[1])
return {due[1], redis.call('HINCRBY', KEYS[2], due[1], 1)}
