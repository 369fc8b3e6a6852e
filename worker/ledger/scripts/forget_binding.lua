-- Takes a binding out of the registry. It is not renewed any more; at the provider it stays as it is.
-- KEYS[1] record (hash)    KEYS[2] bindings (sorted set: id -> Unix ms of the end)
-- KEYS[3] index of bindings (hash: digest of a name -> ids run together)
-- KEYS[4] renewals (sorted set)    KEYS[5] renewals_due (sorted set)    KEYS[6] renewals_failing (hash); all of one partition
-- ARGV[1] its id    ARGV[2] ms to keep a finished job's record
-- Returns 1 forgotten, 0 it is not in the registry.
-- Safe to resend: what was forgotten is not found again.
-- A sealed number stands in the index by its blind index, which it carries in itself.
local function name_in(value) return string.match(value, '^~1%.[^.]*%.([^.]*)%.') or value end

local function take_out_of_index(kind, value)
  if type(value) ~= 'string' or value == '' then return end
  local digest = string.sub(redis.sha1hex(kind .. ':' .. name_in(value)), 1, 14)
  local ids = redis.call('HGET', KEYS[3], digest)
  local at = ids and string.find(ids, ARGV[1], 1, true)
  if not at then return end
  ids = string.sub(ids, 1, at - 1) .. string.sub(ids, at + 26)
  if ids == '' then redis.call('HDEL', KEYS[3], digest) else redis.call('HSET', KEYS[3], digest, ids) end
end

if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
local record = redis.call('HMGET', KEYS[1], 'subs_id', 'phone_no_x', 'request', 'finished_at', 'adopted_by')
local is_readable, request = pcall(cjson.decode, record[3] or '')
if not is_readable or type(request) ~= 'table' then request = {} end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('HDEL', KEYS[6], ARGV[1])
take_out_of_index('subs_id', record[1])
take_out_of_index('phone_no_x', record[2])
take_out_of_index('out_id', request.OutId)
take_out_of_index('out_order_id', request.OutOrderId)
if record[5] then
  redis.call('DEL', KEYS[1])
else
  redis.call('HDEL', KEYS[1], 'renew', 'renew_seed', 'renew_due')
  -- At a time that has passed, Redis deletes the record at once.
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', (tonumber(record[4] or '') or 0) + tonumber(ARGV[2])))
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
