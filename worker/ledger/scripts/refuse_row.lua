-- Gives a row of a batch that cannot become a job its outcome.
-- KEYS[1] record of the job that it would be (hash)    KEYS[2] the batch's counts (hash)
-- KEYS[3] outcomes of its chunk (hash); all of one partition
-- ARGV[1] its index in the chunk    ARGV[2] round    ARGV[3] digests that its job may have, separated by spaces
-- ARGV[4] the outcome    ARGV[5] its code
-- Returns 1 refused, 0 it is a job already, or was refused before.
-- Safe to resend: a second run finds the outcome.
local known = redis.call('HGET', KEYS[1], 'digest')
if known and string.find(' ' .. ARGV[3] .. ' ', ' ' .. known .. ' ', 1, true) then return 0 end
local before = redis.call('HGET', KEYS[3], ARGV[1])
before = before and cjson.decode(before)
if before then
  if before[2] == tonumber(ARGV[2]) then return 0 end
  redis.call('HINCRBY', KEYS[2], 'state:' .. before[1], -1)
  if (before[4] or '') ~= '' then redis.call('HINCRBY', KEYS[2], 'code:' .. before[4], -1) end
end
redis.call('HINCRBY', KEYS[2], 'state:refused', 1)
redis.call('HINCRBY', KEYS[2], 'code:' .. ARGV[5], 1)
redis.call('HSET', KEYS[3], ARGV[1], ARGV[4])
return 1
