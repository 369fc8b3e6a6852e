-- Says when somebody looks at a line next: that of a receiver, or of an order key.
-- KEYS[1] line (sorted set)    KEYS[2] timetable of the same partition (sorted set)
-- ARGV[1] the line's timetable member    ARGV[2] ms until the look
-- Returns how many stand in the line; with none there is no look.
-- Safe to resend: says the same again.
local waiting = redis.call('ZCARD', KEYS[1])
if waiting == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  local time = redis.call('TIME')
  local look = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2])
  redis.call('ZADD', KEYS[2], string.format('%.0f', look), ARGV[1])
end
return waiting
