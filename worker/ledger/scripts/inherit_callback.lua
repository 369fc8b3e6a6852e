-- Lets a binding that was made in place of another tell those who were to hear of that one.
-- KEYS[1] record of the job that bound (hash)
-- ARGV[1], ARGV[2], and on: field, value pairs of the record
-- Returns 1 written, 0 no such binding.
-- Safe to resend: writes the same.
if redis.call('HEXISTS', KEYS[1], 'subs_id') == 0 then return 0 end
if #ARGV > 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return 1
