-- Says that the rows up to a place are begun. Refused unless the token still holds the batch.
-- KEYS[1] batch (hash)
-- ARGV[1] token    ARGV[2] chunk and ARGV[3] index of the next row
-- ARGV[4] Unix ms up to which its rate is used up
-- Returns 1 moved, 0 refused. Safe to resend: it writes the same again, with a later `moved_at`.
local batch = redis.call('HMGET', KEYS[1], 'token', 'state', 'began_at')
if batch[1] ~= ARGV[1] or batch[2] ~= 'running' then return 0 end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'chunk', ARGV[2], 'index', ARGV[3], 'paced_until', ARGV[4], 'moved_at', now)
if not batch[3] then redis.call('HSET', KEYS[1], 'began_at', now) end
return 1
