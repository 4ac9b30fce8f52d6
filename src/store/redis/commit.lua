-- Applies a change, all or nothing. KEYS are all names; ARGV is a flat list of instructions that refer to KEYS by
-- number. All conditions are checked first, then everything is carried out.
-- Returns {0} done, {1} conflict, {2, index of the counter without room, milliseconds until its window ends}.
local at, counters = 1, 0
local function take(n)
  local first = at + 1
  at = at + n + 1
  return unpack(ARGV, first, at - 1)
end
local function counted_before(once)
  return once ~= '0' and redis.call('EXISTS', KEYS[tonumber(once)]) == 1
end
-- Returns nil for anything that INCRBY refuses; "nan", for one, is a number to Lua that is below no limit and above none.
local function value_of(counter)
  local text = redis.call('GET', counter) or '0'
  local value = tonumber(text)
  if value and math.abs(value) < 2^53 and string.format('%d', value) == text then return value end
end
local function remaining(counter, window)
  local left = redis.call('PTTL', counter)
  if left < 0 then return tonumber(window) end
  return left
end

while at <= #ARGV do
  local op = ARGV[at]
  if op == 'absent' then
    local key = take(1)
    if redis.call('EXISTS', KEYS[tonumber(key)]) == 1 then return {1} end
  elseif op == 'present' then
    local key = take(1)
    if redis.call('EXISTS', KEYS[tonumber(key)]) == 0 then return {1} end
  elseif op == 'is' then
    local key, bytes = take(2)
    if redis.call('GET', KEYS[tonumber(key)]) ~= bytes then return {1} end
  elseif op == 'leased' then
    local id, attempt = take(2)
    if not redis.call('ZSCORE', KEYS[1], id) or (redis.call('HGET', KEYS[2], id) or '0') ~= attempt then return {1} end
  elseif op == 'counter' then
    local key, once, limit, amount, window, mode = take(6)
    if not counted_before(once) then
      local value = value_of(KEYS[tonumber(key)])
      if mode == 'count' then
        if not value then return redis.error_reply('ERR a counter holds no number') end
      elseif not value or value < 0 or value + tonumber(amount) > tonumber(limit) then
        return {2, counters, remaining(KEYS[tonumber(key)], window)}
      end
    end
    counters = counters + 1
  elseif op == 'write' or op == 'advance' then take(3)
  elseif op == 'delete' then take(1)
  elseif op == 'queue' then take(3)
  elseif op == 'unqueue' then take(1)
  elseif op == 'announce' then take(2)
  else return redis.error_reply('ERR unknown instruction ' .. op) end
end

at = 1
local now
while at <= #ARGV do
  local op = ARGV[at]
  if op == 'absent' or op == 'present' then take(1)
  elseif op == 'is' or op == 'leased' then take(2)
  elseif op == 'counter' then
    local key, once, limit, amount, window, mode = take(6)
    if mode ~= 'check' and not counted_before(once) then
      local counter = KEYS[tonumber(key)]
      redis.call('INCRBY', counter, amount)
      local left = remaining(counter, window)
      if redis.call('PTTL', counter) < 0 then redis.call('PEXPIRE', counter, window) end
      if once ~= '0' then redis.call('SET', KEYS[tonumber(once)], '', 'PX', math.max(left, 1)) end
    end
  elseif op == 'write' then
    local key, bytes, lives = take(3)
    redis.call('SET', KEYS[tonumber(key)], bytes, 'PX', lives)
  elseif op == 'advance' then
    local key, time, lives = take(3)
    if tonumber(time) > (tonumber(redis.call('GET', KEYS[tonumber(key)]) or '') or 0) then
      redis.call('SET', KEYS[tonumber(key)], time, 'PX', lives)
    end
  elseif op == 'delete' then
    local key = take(1)
    redis.call('DEL', KEYS[tonumber(key)])
  elseif op == 'queue' then
    local key, id, delay = take(3)
    if not now then
      local time = redis.call('TIME')
      now = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    redis.call('ZADD', KEYS[tonumber(key)], now + tonumber(delay), id)
  elseif op == 'unqueue' then
    local id = take(1)
    redis.call('ZREM', KEYS[1], id)
    redis.call('HDEL', KEYS[2], id)
  elseif op == 'announce' then
    local channel, what = take(2)
    redis.call('PUBLISH', channel, what)
  end
end
return {0}
