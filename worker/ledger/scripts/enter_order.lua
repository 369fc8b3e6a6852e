-- Gives a callback its place in the order of its key, before the end that owes it is written.
-- KEYS[1] line of the order key (sorted set)    KEYS[2] timetable of the same partition (sorted set)
-- ARGV[1] webhook-id    ARGV[2] the line's timetable member    ARGV[3] ms until somebody looks at the line
-- Returns the webhook-id at the head of the line.
-- Safe to resend: who stands in the line keeps the place.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  redis.call('ZADD', KEYS[1], string.format('%.0f', tonumber(last[2] or '0') + 1), ARGV[1])
end
if not redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  local time = redis.call('TIME')
  local look = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
  redis.call('ZADD', KEYS[2], string.format('%.0f', look), ARGV[2])
end
return redis.call('ZRANGE', KEYS[1], 0, 0)[1]
