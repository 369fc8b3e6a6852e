-- Books one place in the schedule of an account's action, or tells how long until one is free.
-- KEYS[1] schedule (string: Unix us at which the schedule is free again, by this server's clock)
-- KEYS[2] stop of the account (hash: code, fails, next_probe_at in Unix ms), absent while the account is good
-- ARGV[1] us between two calls    ARGV[2] how far ahead of now this lane may run, us
-- ARGV[3] depth of the deepest lane, us    ARGV[4] longest wait the caller can stand, us
-- ARGV[5] 1 to book a place in the future, 0 to take one only if it is free now
-- ARGV[6] ms for which a probe of a stopped account keeps all others from probing
-- Returns {granted 1 or 0, wait_us, stop}: with 1, wait that long and send; with 0, ask again after that long.
-- stop 0: the account is good. 1: it is stopped. 2: it is stopped and this permit is the one probe.
-- A resend books a second place: the rate is kept, one call is forgone.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stop = 0
local next_probe_at = redis.call('HGET', KEYS[2], 'next_probe_at')
if next_probe_at then
  local until_probe = tonumber(next_probe_at) * 1000 - now
  if until_probe > 0 then return {0, math.ceil(until_probe), 1} end
  redis.call('HSET', KEYS[2], 'next_probe_at', string.format('%.0f', now / 1000 + tonumber(ARGV[6])))
  stop = 2
end
local interval, depth, deepest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local free_at = tonumber(redis.call('GET', KEYS[1]) or '0')
-- At a slow rate one call may be longer than a lane is deep: then a place is free when the schedule is.
if depth < interval then depth = interval end
if deepest < interval then deepest = interval end
-- Nothing known (first call, or Redis lost it): start without a burst, never with a double one.
if free_at == 0 then free_at = now + deepest - interval end
-- A clock that jumped back must not stall the account.
if free_at > now + 60000000 then free_at = now + deepest end
if free_at < now then free_at = now end
local wait = free_at + interval - depth - now
if wait < 0 then wait = 0 end
-- The one probe is booked in any case: nobody else may send meanwhile.
if stop == 0 and (wait > tonumber(ARGV[4]) or (wait > 0 and ARGV[5] == '0')) then return {0, math.ceil(wait), stop} end
redis.call('SET', KEYS[1], string.format('%.0f', free_at + interval), 'PX', 120000)
return {1, math.ceil(wait), stop}
