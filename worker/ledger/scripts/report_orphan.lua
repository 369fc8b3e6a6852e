-- Writes into a job that a binding exists which was made for it and is not its own, with the callback that says so.
-- KEYS[1] job record (hash)    KEYS[2] index of jobs with orphans (sorted set)    KEYS[3] timetable (sorted set)
-- KEYS[4] callback record (hash); all of one partition
-- ARGV[1] timetable member of the job    ARGV[2] the orphan as a JSON text    ARGV[3] its SubsId
-- ARGV[4] the callback's timetable member, '' for none    ARGV[5...] field, value pairs of the callback's record
-- Returns 1 reported, 0 reported before, -1 no such job.
-- Safe to resend: an orphan is reported once by its SubsId.
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HSETNX', KEYS[1], 'orphan:' .. ARGV[3], ARGV[2]) == 0 then return 0 end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HINCRBY', KEYS[1], 'orphans', 1)
redis.call('ZADD', KEYS[2], now, ARGV[1])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[4], unpack(ARGV, 5))
  redis.call('ZADD', KEYS[3], now, ARGV[4])
end
return 1
