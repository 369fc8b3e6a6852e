-- Says that all rows of a batch are there, and lets it begin.
-- KEYS[1] batch (hash)    KEYS[2] timetable (sorted set)
-- ARGV[1] how many rows it must have    ARGV[2] its timetable member
-- Returns {status, rows, chunks, top}: 1 sealed, also before; 0 it has other rows, or chunks are missing; -2 no such batch.
-- Safe to resend: a sealed batch of as many rows is only found.
local batch = redis.call('HMGET', KEYS[1], 'state', 'removing', 'rows', 'chunks', 'top')
if not batch[1] or batch[2] then return {-2, 0, 0, 0} end
local rows, chunks, top = tonumber(batch[3]), tonumber(batch[4]), tonumber(batch[5])
if rows ~= tonumber(ARGV[1]) or chunks ~= top + 1 then return {0, rows, chunks, top} end
if batch[1] == 'uploading' then
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('ZADD', KEYS[2], now, ARGV[2])
  redis.call('HSET', KEYS[1], 'state', 'running')
end
return {1, rows, chunks, top}
