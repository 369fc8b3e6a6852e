-- Gives one worker the lease of a job, and numbers its attempt, before anything is sent.
-- KEYS[1] job record (hash)   KEYS[2] timetable (sorted set)   KEYS[3] index of jobs in doubt (sorted set)
-- KEYS[4] index of failed jobs (sorted set); all of one partition
-- ARGV[1] timetable member    ARGV[2] token of this very claim    ARGV[3] lease in ms
-- ARGV[4] how many leases of a job may run out before it is poison    ARGV[5] ms to keep a finished record
-- ARGV[6] channel that tells waiters of the end
-- ARGV[7] '' to work on the job. Who knows what became of it resumes it, also when it waits or is in doubt: with the
--   number of the attempt he knows of, or 'any' for a person who resolves a doubt
-- ARGV[8] up to which version the caller can read a job's record
-- Returns {status}, or for 'claimed'
--   {status, now_ms, fence, attempt, is_probe, is_late, began_at, is_poison, rescues, field, value, ...}.
--   missing: no record and nobody waits for one     ended: nothing to do (the timetable forgets it)
--   leased: another worker holds it                  early: it waits until a time that has not come
--   newer: the record's version is a newer release's. It stays as it is; where nothing but a look at what became of a
--   message is planned, the timetable looks again soon, and as the job grows old at most once a minute
--   condemned: the timetable knew it, but its record is missing or tells no state: failed now, with code poison
-- is_probe 1: what the last attempt did is unknown, so its number, and with it its nonce, is used again.
-- is_late 1: the deadline has passed; no new attempt was numbered and nothing may be sent.
-- rescues: how many leases ran out one after the other. is_poison 1: too many; nothing may be sent.
-- Safe to resend: the same token gets the same claim again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text = string.format('%.0f', now)

local function condemn(reason)
  redis.call('HSET', KEYS[1], 'state', 'failed', 'code', 'poison', 'message', reason, 'finished_at', now_text)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZADD', KEYS[4], now_text, ARGV[1])
  redis.call('PUBLISH', ARGV[6], 'failed')
  return {'condemned'}
end

local record = redis.pcall('HGETALL', KEYS[1])
if record.err then
  redis.call('DEL', KEYS[1])
  return condemn('its record was overwritten by something that is no record')
end
if #record == 0 then
  if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return {'missing'} end
  return condemn('its record is missing; what it asked for, and whether it was sent, is lost')
end
local job = {}
for i = 1, #record, 2 do job[record[i]] = record[i + 1] end
if (tonumber(job.v or '0') or 0) > tonumber(ARGV[8]) then
  local planned = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0')
  if planned ~= math.floor(planned) then -- take_due.lua says what a fraction is
    local age = now - (tonumber(job.accepted_at or '0') or 0)
    local look = now + math.min(math.max(age / 8, 1000), 60000)
    redis.call('ZADD', KEYS[2], 'XX', string.format('%.0f', look), ARGV[1])
  end
  return {'newer'}
end
local fence = tonumber(job.fence or '0') or 0
local attempt = tonumber(job.attempts or '0') or 0
local rescues = tonumber(job.rescues or '0') or 0
local again = job.state == 'submitting' and job.token == ARGV[2]
local is_known = ARGV[7] ~= '' and (ARGV[7] == 'any' or ARGV[7] == tostring(attempt))
if job.state == 'submitting' then
  if not again then
    if (tonumber(job.lease_until or '0') or 0) > now then return {'leased'} end
    rescues = rescues + 1
  end
elseif job.state == 'waiting' then
  if ARGV[7] == '' and (tonumber(job.next_at or '0') or 0) > now then return {'early'} end
elseif job.state == 'in_doubt' then
  if not is_known then
    redis.call('ZREM', KEYS[2], ARGV[1])
    return {'ended'}
  end
elseif job.state == 'bound' or job.state == 'old_left_bound' or job.state == 'updated' or job.state == 'unbound' or job.state == 'failed'
    or job.state == 'expired' or job.state == 'cancelled' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'ended'}
elseif job.state ~= 'accepted' then
  return condemn('its record tells no state that this release knows')
end
-- A person resolves doubts only; a found binding belongs to the attempt that made it, as long as none came after.
if ARGV[7] ~= '' and not again and job.state ~= 'in_doubt' and (not is_known or ARGV[7] == 'any') then
  return {'early'}
end
local is_probe = job.open or '0'
local is_late = job.is_late or '0'
local began_at = job.began_at or '0'
local is_poison = '0'
if rescues > tonumber(ARGV[4]) then is_poison = '1' end
if again then
  is_probe = job.is_probe
else
  fence = fence + 1
  is_late = '0'
  local deadline = tonumber(job.deadline_at or '0') or 0 -- 0: none, or none any more
  if deadline > 0 and deadline <= now then is_late = '1' end
  if is_probe == '0' and is_late == '0' and is_poison == '0' and ARGV[7] == '' then
    attempt = attempt + 1
    began_at = now_text
    redis.call('HSET', KEYS[1], 'attempts', attempt, 'open', '1', 'began_at', began_at)
  end
  local until_ms = string.format('%.0f', now + tonumber(ARGV[3]))
  redis.call('HSET', KEYS[1], 'state', 'submitting', 'token', ARGV[2], 'fence', fence, 'lease_until', until_ms,
    'is_probe', is_probe, 'is_late', is_late, 'rescues', rescues)
  redis.call('ZADD', KEYS[2], until_ms, ARGV[1])
  if job.state == 'in_doubt' then
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('HDEL', KEYS[1], 'finished_at')
  end
end
return {'claimed', now, fence, attempt, is_probe, is_late, began_at, is_poison, rescues, unpack(record)}
