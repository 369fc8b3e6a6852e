-- Gives one worker the lease of a callback and numbers its try.
-- KEYS[1] callback record (hash)    KEYS[2] timetable of the same partition (sorted set)
-- ARGV[1] timetable member    ARGV[2] token of this very claim    ARGV[3] lease in ms
-- Returns {status}, or for 'claimed' {status, try, field, value, ...}. missing: delivered or given up already;
-- leased: another worker is sending it; early: its time has not come.
-- Safe to resend: the same token gets the same claim again.
local record = redis.call('HGETALL', KEYS[1])
if #record == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'missing'}
end
local callback = {}
for i = 1, #record, 2 do callback[record[i]] = record[i + 1] end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local try = tonumber(callback.tries or '0')
if callback.state == 'dead' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'missing'}
end
if callback.token ~= ARGV[2] then
  if tonumber(callback.lease_until or '0') > now then return {'leased'} end
  if tonumber(callback.next_at or '0') > now then return {'early'} end
  try = try + 1
  local until_ms = string.format('%.0f', now + tonumber(ARGV[3]))
  redis.call('HSET', KEYS[1], 'token', ARGV[2], 'tries', try, 'lease_until', until_ms)
  redis.call('ZADD', KEYS[2], until_ms, ARGV[1])
end
return {'claimed', try, unpack(record)}
