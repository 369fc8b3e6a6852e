-- Ends a batch whose rows all have their outcomes, with the callback that it owes, in one step.
-- KEYS[1] batch (hash)    KEYS[2] timetable (sorted set)    KEYS[3] callback record (hash)
-- KEYS[4] line of the callback's receiver (sorted set); all of one partition
-- ARGV[1] token    ARGV[2] the batch's timetable member    ARGV[3] the callback's timetable member, '' for none
-- ARGV[4] ms after which it is given up    ARGV[5] timetable member of the line
-- ARGV[6...] field, value pairs of the callback's record
-- Returns 1 finished now, 0 refused. Safe to resend: a second run is refused and owes nothing more.
local batch = redis.call('HMGET', KEYS[1], 'token', 'state')
if batch[1] ~= ARGV[1] or batch[2] ~= 'running' then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'state', 'finished', 'finished_at', now_text)
redis.call('HDEL', KEYS[1], 'token', 'held_until', 'paced_until')
redis.call('ZREM', KEYS[2], ARGV[2])
if ARGV[3] ~= '' then
  local give_up = string.format('%.0f', now + tonumber(ARGV[4]))
  redis.call('HSET', KEYS[3], 'created_at', now_text, 'give_up_at', give_up, unpack(ARGV, 6))
  redis.call('ZADD', KEYS[2], give_up, ARGV[3])
  redis.call('ZADD', KEYS[2], 'LT', now_text, ARGV[5])
  redis.call('ZADD', KEYS[4], now_text, ARGV[3])
end
return 1
