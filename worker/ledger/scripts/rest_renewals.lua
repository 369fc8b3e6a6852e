-- Gives the lease of a partition's renewals back, and says when somebody looks at them next.
-- KEYS[1] lease (string: token)    KEYS[2] renewals (sorted set: binding id -> due)
-- KEYS[3] renewals whose time has come (sorted set: binding id -> end)    KEYS[4] timetable (sorted set); all of one
-- partition
-- ARGV[1] token of the session    ARGV[2] timetable member of the renewals
-- Returns Unix ms of the next look, 0 if there is nothing to look at, -1 where another session has the lease.
-- Safe to resend: with no lease it says the same again.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return -1 end
redis.call('DEL', KEYS[1])
local time = redis.call('TIME')
local look = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZCARD', KEYS[3]) == 0 then
  local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if #first == 0 then
    redis.call('ZREM', KEYS[4], ARGV[2])
    return 0
  end
  look = tonumber(first[2])
end
redis.call('ZADD', KEYS[4], string.format('%.0f', look), ARGV[2])
return look
