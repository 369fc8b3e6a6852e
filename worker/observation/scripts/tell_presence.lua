-- A worker process tells that it is there; those that have not for long are forgotten.
-- KEYS[1] presences (hash: process -> Unix ms, a space, JSON)
-- ARGV[1] process    ARGV[2] JSON, or '' where the process ends    ARGV[3] ms after which others are forgotten
-- Returns now_ms.
-- Safe to resend: it tells the same again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
end
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  local seen = tonumber(string.match(known[i + 1], '^%d+')) or 0
  if now - seen > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], known[i]) end
end
return now
