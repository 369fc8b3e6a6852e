-- Says that a renewal is about to be sent, unless the binding is another one by now than was read.
-- KEYS[1] record of the job that bound (hash)
-- ARGV[1] how many renewals it had    ARGV[2] its Expiration, as on the wire    ARGV[3] token of this very try
-- ARGV[4] ms that the request may be under way    ARGV[5] the end that is asked for, Unix ms
-- Returns 1 go on, 0 it has changed: read it again, -1 another session's request may be under way.
-- Safe to resend: the same token goes on again.
local was = redis.call('HMGET', KEYS[1], 'state', 'binding', 'renewals', 'request', 'renew_closed', 'renewing_until',
  'renewing_by')
if was[1] ~= 'bound' and was[1] ~= 'old_left_bound' then return 0 end
if (was[2] or 'active') ~= 'active' or (was[3] or '0') ~= ARGV[1] or was[5] then return 0 end
local is_readable, request = pcall(cjson.decode, was[4] or '')
if not is_readable or type(request) ~= 'table' or request.Expiration ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if was[7] ~= ARGV[3] and (tonumber(was[6] or '0') or 0) > now then return -1 end
redis.call('HSET', KEYS[1], 'renewing_by', ARGV[3], 'renewing_until',
  string.format('%.0f', now + tonumber(ARGV[4])), 'renew_target', ARGV[5])
return 1
