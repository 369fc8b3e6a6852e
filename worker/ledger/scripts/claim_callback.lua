-- Gives one worker the lease of a callback and numbers its try.
-- KEYS[1] callback record (hash)    KEYS[2] timetable (sorted set)    KEYS[3] line of its receiver (sorted set); all of
-- one partition
-- ARGV[1] timetable member    ARGV[2] token of this very claim    ARGV[3] lease in ms
-- ARGV[4] ms after which a callback is given up that tells no such time: one that a person has brought back
-- ARGV[5] '1' if nothing will be sent: no try is numbered
-- ARGV[6] up to which version the caller can read a callback's record
-- Returns {status}, or for 'claimed' {status, try, is_late, field, value, ...}. missing: delivered or given up already;
-- leased: another worker is sending it; early: its time has not come; newer: its version is a newer release's, so that it
-- is looked at again soon, and as it grows old at most once a minute. In every case it leaves the line, and stands in
-- the timetable where it must. is_late 1: the time to give it up has come; no try was numbered, nothing may be sent.
-- Safe to resend: the same token gets the same claim again.
local record = redis.call('HGETALL', KEYS[1])
local callback = {}
for i = 1, #record, 2 do callback[record[i]] = record[i + 1] end
redis.call('ZREM', KEYS[3], ARGV[1])
if #record == 0 or callback.state == 'dead' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'missing'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if (tonumber(callback.v or '0') or 0) > tonumber(ARGV[6]) then
  local age = now - (tonumber(callback.created_at or '0') or 0)
  local look = now + math.min(math.max(age / 8, 1000), 60000)
  for _, field in ipairs({'lease_until', 'next_at'}) do
    look = math.max(look, tonumber(callback[field] or '0') or 0)
  end
  redis.call('ZADD', KEYS[2], string.format('%.0f', look), ARGV[1])
  return {'newer'}
end
local try = tonumber(callback.tries or '0')
local give_up = tonumber(callback.give_up_at or '0')
if give_up == 0 then give_up = now + tonumber(ARGV[4]) end
local is_late = give_up <= now and 1 or 0
if callback.token ~= ARGV[2] then
  for _, field in ipairs({'lease_until', 'next_at'}) do
    local look = tonumber(callback[field] or '0')
    if look > now then
      redis.call('ZADD', KEYS[2], string.format('%.0f', look), ARGV[1])
      return {field == 'lease_until' and 'leased' or 'early'}
    end
  end
  if is_late == 0 and ARGV[5] ~= '1' then try = try + 1 end
  local until_ms = string.format('%.0f', now + tonumber(ARGV[3]))
  redis.call('HSET', KEYS[1], 'token', ARGV[2], 'tries', try, 'lease_until', until_ms,
    'give_up_at', string.format('%.0f', give_up))
  redis.call('ZADD', KEYS[2], until_ms, ARGV[1])
end
return {'claimed', try, is_late, unpack(record)}
