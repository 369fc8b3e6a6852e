-- Begins a batch, whose rows come next.
-- KEYS[1] batch (hash)    KEYS[2] batches of this partition (set)
-- ARGV[1] its id    ARGV[2] its name    ARGV[3] its options, as JSON    ARGV[4] who begins it
-- Returns 1 where it is there now, as asked for; 0 where one of other options is there, or it is being removed.
-- Safe to resend, and to ask for twice at once: the same batch is found and nothing changes.
local known = redis.call('HMGET', KEYS[1], 'options', 'removing')
if known[2] then return 0 end
if known[1] then return known[1] == ARGV[3] and 1 or 0 end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 'name', ARGV[2], 'options', ARGV[3], 'created_by', ARGV[4], 'created_at', now,
  'state', 'uploading', 'rows', 0, 'chunks', 0, 'top', -1, 'chunk', 0, 'index', 0, 'round', 0, 'resumed_at', 0)
return 1
