-- Ends the renewals of a binding that is kept while its order is open.
-- KEYS[1] record of the job that bound (hash)    KEYS[2] renewals (sorted set: binding id -> due)
-- KEYS[3] renewals whose time has come (sorted set: binding id -> end)
-- KEYS[4] failing renewals (hash: binding id -> code); all of one partition
-- ARGV[1] binding id    ARGV[2] 'closed', or 'unbind' where what comes in its place is to be unbound, too
-- Returns 1 it was open, or closed before; 0 it is not kept while anything is open.
-- Safe to resend: what is closed stays so.
local policy = redis.call('HGET', KEYS[1], 'renew')
local is_readable, told = pcall(cjson.decode, policy or '')
if not is_readable or type(told) ~= 'table' or told['while'] ~= 'open' then return 0 end
if ARGV[2] == 'unbind' or redis.call('HEXISTS', KEYS[1], 'renew_closed') == 0 then
  redis.call('HSET', KEYS[1], 'renew_closed', ARGV[2])
end
if redis.call('HEXISTS', KEYS[1], 'renew_step') == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1])
  redis.call('HDEL', KEYS[1], 'renew_due')
end
return 1
