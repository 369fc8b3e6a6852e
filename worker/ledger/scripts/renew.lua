-- Lengthens the lease of a job while its owner still works on it.
-- KEYS[1] job record (hash)    KEYS[2] timetable of the same partition (sorted set)
-- ARGV[1] token of the claim   ARGV[2] timetable member    ARGV[3] lease in ms, from now
-- Returns 1 renewed, 0 the job has another owner or is settled.
-- Safe to resend: a second run only lengthens the lease again.
local job = redis.call('HMGET', KEYS[1], 'state', 'token')
if job[1] ~= 'submitting' or job[2] ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local until_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'lease_until', until_ms)
redis.call('ZADD', KEYS[2], until_ms, ARGV[2])
return 1
