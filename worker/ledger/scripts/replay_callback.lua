-- Puts a callback that was given up among the waiting ones again: its tries begin anew, its id, body and log stay.
-- KEYS[1] callback record (hash)    KEYS[2] timetable (sorted set)    KEYS[3] job record (hash)
-- KEYS[4] index of callbacks given up (sorted set)    KEYS[5] audit (stream); all of one partition
-- ARGV[1] timetable member    ARGV[2] token of this very replay    ARGV[3] Unix ms of the first try
-- ARGV[4] who replays it      ARGV[5] how many lines of the audit to keep at least
-- ARGV[6...] field, value pairs of the audit's line, if there is to be one
-- Returns 'replayed', or 'missing' (delivered, or forgotten), or 'waiting' (it is not given up); then nothing changed.
-- Safe to resend: a second run finds its own token, changes nothing and answers as the first one did.
local callback = redis.call('HMGET', KEYS[1], 'state', 'replay_token')
if callback[2] == ARGV[2] then return 'replayed' end
if callback[1] ~= 'dead' then
  redis.call('ZREM', KEYS[4], ARGV[1])
  return callback[1] and 'waiting' or 'missing'
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
-- The look comes first: should Redis refuse a later write, a look at a dead callback is better than one nobody looks at.
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('HSET', KEYS[1], 'state', 'waiting', 'tries', '0', 'next_at', ARGV[3], 'replay_token', ARGV[2],
  'replayed_at', now, 'replayed_by', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'replays', 1)
-- A deadline that the request set is overruled by the person who wants it delivered now.
redis.call('HDEL', KEYS[1], 'token', 'lease_until', 'give_up_at', 'deadline_at')
redis.call('PERSIST', KEYS[1])
redis.call('ZREM', KEYS[4], ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HSET', KEYS[3], 'callback_state', 'waiting') end
if #ARGV > 5 then redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', unpack(ARGV, 6)) end
return 'replayed'
