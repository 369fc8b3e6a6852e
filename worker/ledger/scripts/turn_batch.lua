-- Pauses, resumes or cancels a batch, or lets it try rows anew.
-- KEYS[1] batch (hash)    KEYS[2] timetable (sorted set)
-- ARGV[1] 'pause', 'resume', 'cancel' or 'retry'    ARGV[2] the batch's timetable member    ARGV[3] by whom, '' by itself
-- ARGV[4] why, of a pause; of a retry the codes of the rows to try, as JSON ('null': all that may be tried anew)
-- ARGV[5] of a pause by itself: Unix ms of the trouble; what was before the last resume counts no more. Else 0
-- ARGV[6] random text, of this very retry
-- Returns {status, state before}: 1 it is so now, 0 its state forbids it, -2 no such batch.
-- Safe to resend: what is so already stays so; a retry finds its own text.
local batch = redis.call('HMGET', KEYS[1], 'state', 'removing', 'resumed_at', 'retry_token')
local state = batch[1]
if not state or batch[2] then return {-2, ''} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if ARGV[1] == 'pause' then
  if ARGV[3] == '' and (state ~= 'running' or tonumber(ARGV[5]) <= tonumber(batch[3])) then return {0, state} end
  if state ~= 'running' and state ~= 'paused' then return {0, state} end
  redis.call('HSET', KEYS[1], 'state', 'paused', 'reason', ARGV[4], 'paused_by', ARGV[3])
  redis.call('HDEL', KEYS[1], 'token', 'held_until')
  redis.call('ZREM', KEYS[2], ARGV[2])
elseif ARGV[1] == 'resume' then
  if state ~= 'running' and state ~= 'paused' then return {0, state} end
  if state == 'paused' then
    redis.call('ZADD', KEYS[2], now, ARGV[2])
    redis.call('HSET', KEYS[1], 'state', 'running', 'resumed_at', now)
    redis.call('HDEL', KEYS[1], 'reason', 'paused_by')
  end
elseif ARGV[1] == 'cancel' then
  if state == 'finished' then return {0, state} end
  if state ~= 'cancelled' then
    redis.call('HSET', KEYS[1], 'state', 'cancelled', 'finished_at', now, 'cancelled_by', ARGV[3])
    redis.call('HDEL', KEYS[1], 'token', 'held_until', 'reason', 'paused_by')
    redis.call('ZREM', KEYS[2], ARGV[2])
  end
else
  if batch[4] == ARGV[6] then return {1, 'finished'} end
  if state ~= 'finished' then return {0, state} end
  redis.call('ZADD', KEYS[2], now, ARGV[2])
  redis.call('HINCRBY', KEYS[1], 'round', 1)
  redis.call('HSET', KEYS[1], 'state', 'running', 'chunk', 0, 'index', 0, 'retry_codes', ARGV[4], 'retry_token', ARGV[6],
    'resumed_at', now)
  redis.call('HDEL', KEYS[1], 'finished_at', 'token', 'held_until')
end
return {1, state}
