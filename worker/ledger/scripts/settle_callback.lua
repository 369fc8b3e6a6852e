-- Writes what one try of a callback came to. Refused unless the token still holds the lease.
-- KEYS[1] callback record (hash)    KEYS[2] timetable (sorted set)    KEYS[3] job record (hash)
-- KEYS[4] index of callbacks given up (sorted set)    KEYS[5] line of its receiver (sorted set); all of one partition
-- ARGV[1] token    ARGV[2] timetable member    ARGV[3] 'delivered', 'retry' or 'dead'
-- ARGV[4] ms until the next try, for retry; it comes no later than the time to give up
-- ARGV[5] class of the error    ARGV[6] log of all tries, a JSON array    ARGV[7] ms to keep the record of a dead one
-- Returns 1 settled, 0 refused. Safe to resend: a second run is refused and changes nothing.
local callback = redis.call('HMGET', KEYS[1], 'token', 'tries', 'state', 'give_up_at')
if callback[1] ~= ARGV[1] or callback[3] == 'dead' then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = ARGV[3]
redis.call('ZREM', KEYS[5], ARGV[2])
if state == 'delivered' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
elseif state == 'dead' then
  redis.call('HSET', KEYS[1], 'state', 'dead', 'last_error', ARGV[5], 'log', ARGV[6])
  redis.call('HDEL', KEYS[1], 'token', 'lease_until', 'next_at', 'give_up_at')
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  redis.call('ZADD', KEYS[4], string.format('%.0f', now), ARGV[2])
  -- Records of older ones are gone by now.
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('(%.0f', now - tonumber(ARGV[7])))
else
  state = 'waiting'
  local look = now + tonumber(ARGV[4])
  local give_up = tonumber(callback[4] or '0')
  if give_up > 0 then look = math.min(look, give_up) end
  look = string.format('%.0f', look)
  redis.call('HSET', KEYS[1], 'state', 'waiting', 'next_at', look, 'last_error', ARGV[5],
    'log', ARGV[6])
  redis.call('HDEL', KEYS[1], 'token', 'lease_until')
  redis.call('ZADD', KEYS[2], look, ARGV[2])
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('HSET', KEYS[3], 'callback_state', state, 'callback_attempts', callback[2])
end
return 1
