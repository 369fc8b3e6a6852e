-- Gives one worker the lease of a job, and numbers its attempt, before anything is sent.
-- KEYS[1] job record (hash)   KEYS[2] timetable of the same partition (sorted set)
-- ARGV[1] timetable member    ARGV[2] token of this very claim    ARGV[3] lease in ms
-- Returns {status}, or for 'claimed' {status, now_ms, fence, attempt, is_probe, is_late, began_at, field, value, ...}.
--   missing: no record (the timetable forgets it)    ended: nothing to do (the timetable forgets it)
--   leased: another worker holds it                  early: it waits until a time that has not come
-- is_probe 1: what the last attempt did is unknown, so its number, and with it its nonce, is used again.
-- is_late 1: the deadline has passed; no new attempt was numbered and nothing may be sent.
-- Safe to resend: the same token gets the same claim again.
local record = redis.call('HGETALL', KEYS[1])
if #record == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'missing'}
end
local job = {}
for i = 1, #record, 2 do job[record[i]] = record[i + 1] end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local again = job.state == 'submitting' and job.token == ARGV[2]
if job.state == 'submitting' then
  if not again and tonumber(job.lease_until) > now then return {'leased'} end
elseif job.state == 'waiting' then
  if tonumber(job.next_at or '0') > now then return {'early'} end
elseif job.state ~= 'accepted' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'ended'}
end
local fence = tonumber(job.fence or '0')
local attempt = tonumber(job.attempts or '0')
local is_probe = job.open or '0'
local is_late = job.is_late or '0'
local began_at = job.began_at or '0'
if again then
  is_probe = job.is_probe
else
  fence = fence + 1
  is_late = '0'
  if job.deadline_at and tonumber(job.deadline_at) <= now then is_late = '1' end
  if is_probe == '0' and is_late == '0' then
    attempt = attempt + 1
    began_at = string.format('%.0f', now)
    redis.call('HSET', KEYS[1], 'attempts', attempt, 'open', '1', 'began_at', began_at)
  end
  local until_ms = string.format('%.0f', now + tonumber(ARGV[3]))
  redis.call('HSET', KEYS[1], 'state', 'submitting', 'token', ARGV[2], 'fence', fence, 'lease_until', until_ms,
    'is_probe', is_probe, 'is_late', is_late)
  redis.call('ZADD', KEYS[2], until_ms, ARGV[1])
end
return {'claimed', now, fence, attempt, is_probe, is_late, began_at, unpack(record)}
