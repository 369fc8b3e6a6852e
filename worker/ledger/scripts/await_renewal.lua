-- Says when a binding is to be renewed: before the end of its job makes it one, when it is to be kept from now on, or
-- when its end was changed by hand.
-- KEYS[1] renewals (sorted set: binding id -> due)    KEYS[2] renewals whose time has come (sorted set: binding id -> end)
-- KEYS[3] timetable (sorted set)    KEYS[4] failing renewals (hash: binding id -> code)
-- KEYS[5] record of the job that binds (hash); all of one partition
-- ARGV[1] binding id    ARGV[2] Unix ms at which it is due, '' if never    ARGV[3] timetable member of the renewals
-- Returns 1.
-- Safe to resend: says the same again.
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[2] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1])
  redis.call('HDEL', KEYS[5], 'renew_due')
else
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
  redis.call('ZADD', KEYS[3], 'LT', ARGV[2], ARGV[3])
  if redis.call('EXISTS', KEYS[5]) == 1 then redis.call('HSET', KEYS[5], 'renew_due', ARGV[2]) end
end
return 1
