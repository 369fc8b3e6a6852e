-- Takes a job out of the line for a binding, and frees the binding if the job holds it.
-- KEYS[1] line (sorted set: job id -> Unix ms of its acceptance)    KEYS[2] holder (string: job id); of one partition
-- ARGV[1] job id
-- Returns the id of the next in line, or ''.
-- Safe to resend: a job that stands in no line changes nothing.
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return redis.call('ZRANGE', KEYS[1], 0, 0)[1] or ''
