-- Ends a row of a batch whose job is lost: Redis has lost its record, or a claim found none and condemned it.
-- KEYS[1] record of the job (hash)    KEYS[2] the batch's counts (hash)    KEYS[3] outcomes of the row's chunk (hash)
-- ARGV[1] the row's place    ARGV[2] its index in the chunk    ARGV[3] round    ARGV[4] the outcome    ARGV[5] its code
-- Returns 1 ended, 0 its job is there, or it has its outcome.
-- Safe to resend: a second run finds the outcome.
local job = redis.call('HMGET', KEYS[1], 'state', 'batch')
if job[1] and (job[2] == ARGV[1] or job[1] ~= 'failed') then return 0 end
local before = redis.call('HGET', KEYS[3], ARGV[2])
before = before and cjson.decode(before)
if before then
  if before[2] == tonumber(ARGV[3]) then return 0 end
  redis.call('HINCRBY', KEYS[2], 'state:' .. before[1], -1)
  if (before[4] or '') ~= '' then redis.call('HINCRBY', KEYS[2], 'code:' .. before[4], -1) end
end
redis.call('HINCRBY', KEYS[2], 'closed', 1)
redis.call('HINCRBY', KEYS[2], 'state:failed', 1)
redis.call('HINCRBY', KEYS[2], 'code:' .. ARGV[5], 1)
redis.call('HSET', KEYS[3], ARGV[2], ARGV[4])
return 1
