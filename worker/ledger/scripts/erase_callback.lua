-- Deletes a callback that was given up.
-- KEYS[1] callback record (hash)    KEYS[2] index of callbacks given up (sorted set); both of one partition
-- ARGV[1] timetable member
-- Returns 1 deleted, 0 it is not there, or is not given up.
-- Safe to resend: a second run does not find it.
if redis.call('HGET', KEYS[1], 'state') ~= 'dead' then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
