-- Gives the lease of a batch back, and says when somebody is to look at the batch again.
-- KEYS[1] batch (hash)    KEYS[2] timetable (sorted set)
-- ARGV[1] token    ARGV[2] the batch's timetable member    ARGV[3] Unix ms of that look, 0: now
-- Returns 1 given back, 0 another holds it. Safe to resend: a second run is refused.
local batch = redis.call('HMGET', KEYS[1], 'token', 'state')
if batch[1] ~= ARGV[1] or batch[2] ~= 'running' then return 0 end
redis.call('HDEL', KEYS[1], 'token', 'held_until')
local look = ARGV[3]
if look == '0' then
  local time = redis.call('TIME')
  look = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end
redis.call('ZADD', KEYS[2], look, ARGV[2])
return 1
