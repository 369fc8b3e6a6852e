-- Writes into a job that a binding exists which was made for it and is not its own, with the callback that says so.
-- KEYS[1] job record (hash)    KEYS[2] index of jobs with orphans (sorted set)    KEYS[3] timetable (sorted set)
-- KEYS[4] callback record (hash)    KEYS[5] line of the callback's receiver (sorted set); all of one partition
-- ARGV[1] timetable member of the job    ARGV[2] the orphan as a JSON text    ARGV[3] its SubsId
-- ARGV[4] the callback's timetable member, '' for none    ARGV[5] ms after which it is given up in any case
-- ARGV[6] its own deadline, Unix ms, 0 for none            ARGV[7] timetable member of the line
-- ARGV[8...] field, value pairs of the callback's record
-- Returns 1 reported, 0 reported before, -1 no such job.
-- Safe to resend: an orphan is reported once by its SubsId.
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HSETNX', KEYS[1], 'orphan:' .. ARGV[3], ARGV[2]) == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text = string.format('%.0f', now)
redis.call('HINCRBY', KEYS[1], 'orphans', 1)
redis.call('ZADD', KEYS[2], now_text, ARGV[1])
if ARGV[4] ~= '' then
  local give_up = now + tonumber(ARGV[5])
  if tonumber(ARGV[6]) > 0 then give_up = math.min(give_up, tonumber(ARGV[6])) end
  local give_up_text = string.format('%.0f', give_up)
  redis.call('HSET', KEYS[4], 'created_at', now_text, 'give_up_at', give_up_text, unpack(ARGV, 8))
  redis.call('ZADD', KEYS[3], give_up_text, ARGV[4])
  redis.call('ZADD', KEYS[3], 'LT', now_text, ARGV[7])
  redis.call('ZADD', KEYS[5], now_text, ARGV[4])
end
return 1
