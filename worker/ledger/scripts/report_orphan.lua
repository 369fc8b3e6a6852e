-- Writes into a job that a binding exists which was made for it and is not its own, with the callback that says so.
-- KEYS[1] job record (hash)    KEYS[2] timetable (sorted set)
-- KEYS[3] callback record (hash)    KEYS[4] line of the callback's receiver (sorted set); all of one partition
-- ARGV[1] the orphan as a JSON text    ARGV[2] its SubsId
-- ARGV[3] the callback's timetable member, '' for none    ARGV[4] ms after which it is given up in any case
-- ARGV[5] its own deadline, Unix ms, 0 for none            ARGV[6] timetable member of the line
-- ARGV[7...] field, value pairs of the callback's record
-- Returns 1 reported, 0 reported before, -1 no such job.
-- Safe to resend: an orphan is reported once by its SubsId.
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HSETNX', KEYS[1], 'orphan:' .. ARGV[2], ARGV[1]) == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text = string.format('%.0f', now)
redis.call('HINCRBY', KEYS[1], 'orphans', 1)
if ARGV[3] ~= '' then
  local give_up = now + tonumber(ARGV[4])
  if tonumber(ARGV[5]) > 0 then give_up = math.min(give_up, tonumber(ARGV[5])) end
  local give_up_text = string.format('%.0f', give_up)
  redis.call('HSET', KEYS[3], 'created_at', now_text, 'give_up_at', give_up_text, unpack(ARGV, 7))
  redis.call('ZADD', KEYS[2], give_up_text, ARGV[3])
  redis.call('ZADD', KEYS[2], 'LT', now_text, ARGV[6])
  redis.call('ZADD', KEYS[4], now_text, ARGV[3])
end
return 1
