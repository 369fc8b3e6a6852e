-- Takes a callback that is delivered, given up or was never written out of the order of its key.
-- KEYS[1] line of the order key (sorted set)    KEYS[2] timetable of the same partition (sorted set)
-- ARGV[1] webhook-id    ARGV[2] the line's timetable member    ARGV[3] ms until somebody looks at the line
-- Returns the webhook-id at the head of the line now, or ''.
-- Safe to resend: who stands in no line changes nothing, and the head is told again.
redis.call('ZREM', KEYS[1], ARGV[1])
local head = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if not head then
  redis.call('ZREM', KEYS[2], ARGV[2])
  return ''
end
local time = redis.call('TIME')
local look = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', look), ARGV[2])
return head
