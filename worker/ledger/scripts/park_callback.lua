-- Puts a callback that is due, and may not be tried now, where it waits without costing anybody a look: into the line of
-- its receiver, or, for one that others go before in its order, nowhere but the timetable's entry for its giving up.
-- KEYS[1] callback record (hash)    KEYS[2] timetable (sorted set)    KEYS[3] line of its receiver (sorted set); all of
-- one partition
-- ARGV[1] timetable member    ARGV[2] token of the claim whose try was not made and does not count, or ''
-- ARGV[3] timetable member of the line, '' to stand in none    ARGV[4] ms until somebody looks at the line
-- ARGV[5] ms after which a callback is given up that tells no such time
-- Returns 'parked', or why not: 'missing' (delivered or given up), 'leased' or 'early' (the timetable has it for then),
-- 'late' (it is to be given up now), 'lost' (the token's lease is another's).
-- Safe to resend: a second run with a token is 'lost' and changes nothing; without one it parks again.
local found = redis.call('HMGET', KEYS[1], 'state', 'token', 'lease_until', 'next_at', 'give_up_at', 'tries', 'created_at',
  'checkout')
if not found[1] or found[1] == 'dead' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 'missing'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] ~= '' then
  if found[2] ~= ARGV[2] then return 'lost' end
else
  for place, status in pairs({[3] = 'leased', [4] = 'early'}) do
    local look = tonumber(found[place] or '0')
    if look > now then
      redis.call('ZREM', KEYS[3], ARGV[1])
      redis.call('ZADD', KEYS[2], string.format('%.0f', look), ARGV[1])
      return status
    end
  end
end
local give_up = tonumber(found[5] or '0')
if give_up == 0 then give_up = now + tonumber(ARGV[5]) end
if ARGV[2] == '' and give_up <= now then return 'late' end
if ARGV[2] ~= '' then redis.call('HINCRBY', KEYS[1], 'tries', -1) end
redis.call('HDEL', KEYS[1], 'token', 'lease_until')
redis.call('HSET', KEYS[1], 'give_up_at', string.format('%.0f', give_up))
redis.call('ZADD', KEYS[2], string.format('%.0f', give_up), ARGV[1])
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[3], ARGV[1])
else
  local since = tonumber(found[7] or '') or now
  if found[8] then since = since - 1e12 end -- before all others, as settle.lua puts it
  redis.call('ZADD', KEYS[3], string.format('%.0f', since), ARGV[1])
  redis.call('ZADD', KEYS[2], 'LT', string.format('%.0f', now + tonumber(ARGV[4])), ARGV[3])
end
return 'parked'
