-- Takes a batch out of the ledger: first marks it, then, when all its other keys are gone, forgets it.
-- KEYS[1] batch (hash)    KEYS[2] timetable (sorted set)    KEYS[3] batches of this partition (set)
-- ARGV[1] its id    ARGV[2] its timetable member    ARGV[3] 'mark' or 'forget'
-- Returns {status, state}: 1 done, also before; 0 its state forbids it.
-- Safe to resend: a marked batch stays marked, a forgotten one forgotten.
local batch = redis.call('HMGET', KEYS[1], 'state', 'removing')
local state = batch[1]
if ARGV[3] == 'forget' then
  if batch[2] then redis.call('DEL', KEYS[1]) end
  if batch[2] or not state then redis.call('SREM', KEYS[3], ARGV[1]) end
  return {1, state or ''}
end
if not state then return {0, ''} end
if state ~= 'uploading' and state ~= 'cancelled' and state ~= 'finished' then return {0, state} end
redis.call('HSET', KEYS[1], 'removing', 1)
redis.call('ZREM', KEYS[2], ARGV[2])
return {1, state}
