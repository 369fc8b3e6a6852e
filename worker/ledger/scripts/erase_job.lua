-- Takes all that tells of a person out of a job that has ended, and its ended binding out of the registry.
-- KEYS[1] record (hash)    KEYS[2] bindings (sorted set: id -> Unix ms of the end)
-- KEYS[3] index of bindings (hash: digest of a name -> ids run together)
-- KEYS[4] renewals (sorted set)    KEYS[5] renewals_due (sorted set)    KEYS[6] renewals_failing (hash); all of one partition
-- ARGV[1] its id    ARGV[2] ms to keep a finished job's record    ARGV[3...] names of the fields that stay
-- Returns 1 erased, 2 erased before, 0 no such record, -1 it has not ended, or is in doubt, -2 its binding is active, or
-- on the way to being made anew.
-- The digest becomes a word that no request has: the same idempotency key is refused for as long as the record stays,
-- instead of being bound a second time.
-- Safe to resend: a second run finds it erased.
local was = redis.call('HMGET', KEYS[1], 'state', 'subs_id', 'phone_no_x', 'request', 'binding', 'finished_at', 'erased_at',
  'renew_step')
local state = was[1]
if not state then return 0 end
if was[7] then return 2 end
local is_bound = state == 'bound' or state == 'old_left_bound'
if not is_bound and state ~= 'updated' and state ~= 'unbound' and state ~= 'failed' and state ~= 'expired'
    and state ~= 'cancelled' then
  return -1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends_at = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '')
if is_bound and ends_at and (((was[5] or 'active') == 'active' and ends_at > now) or (was[8] or '') ~= '') then
  return -2
end

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

if ends_at then
  local is_readable, request = pcall(cjson.decode, was[4] or '')
  if not is_readable or type(request) ~= 'table' then request = {} end
  take_out_of_index('subs_id', was[2])
  take_out_of_index('phone_no_x', was[3])
  take_out_of_index('out_id', request.OutId)
  take_out_of_index('out_order_id', request.OutOrderId)
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('HDEL', KEYS[6], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
local stays = {}
for i = 3, #ARGV do stays[ARGV[i]] = true end
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  if not stays[name] then redis.call('HDEL', KEYS[1], name) end
end
redis.call('HSET', KEYS[1], 'digest', 'erased', 'erased_at', string.format('%.0f', now))
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
