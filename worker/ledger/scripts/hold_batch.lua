-- Takes or renews the lease of who feeds a batch, and reads the batch.
-- KEYS[1] batch (hash)    KEYS[2] timetable (sorted set)
-- ARGV[1] random token of the feeder    ARGV[2] ms of the lease    ARGV[3] the batch's timetable member
-- ARGV[4] up to which version the caller can read a batch    ARGV[5] ms until somebody else looks at a newer one
-- Returns {status, now_ms, field, value, ...}: 1 held; 0 another feeder holds it, or there is nothing to feed;
-- 2 its version is a newer release's: it stays as it is.
-- The timetable looks again when the lease ends, so that a dead feeder is replaced.
-- Safe to resend: the same token holds it for a little longer.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local batch = redis.call('HMGET', KEYS[1], 'state', 'removing', 'token', 'held_until', 'v')
if (tonumber(batch[5] or '1') or 1) > tonumber(ARGV[4]) then
  redis.call('ZADD', KEYS[2], 'XX', string.format('%.0f', now + tonumber(ARGV[5])), ARGV[3])
  return {2, now}
end
if batch[1] ~= 'running' or batch[2] then
  redis.call('ZREM', KEYS[2], ARGV[3])
  return {0, now}
end
if batch[3] and batch[3] ~= ARGV[1] and tonumber(batch[4]) > now then
  redis.call('ZADD', KEYS[2], batch[4], ARGV[3])
  return {0, now}
end
local held_until = string.format('%.0f', now + tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'held_until', held_until)
redis.call('ZADD', KEYS[2], held_until, ARGV[3])
return {1, now, unpack(redis.call('HGETALL', KEYS[1]))}
