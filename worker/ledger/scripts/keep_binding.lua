-- Gives a binding a policy, in place of any that it has.
-- KEYS[1] record of the job that bound (hash)
-- ARGV[1] policy, a JSON text    ARGV[2] random text from which the nonces of its renewals follow
-- Returns 1 written, 0 no such binding.
-- Safe to resend: writes the same.
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'bound' and state ~= 'old_left_bound' then return 0 end
redis.call('HSET', KEYS[1], 'renew', ARGV[1], 'renew_seed', ARGV[2])
redis.call('HDEL', KEYS[1], 'renew_closed', 'renew_failures', 'renew_throttles', 'renew_code')
return 1
