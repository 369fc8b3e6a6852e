-- Writes into a binding's record, and into the indexes, what a job has done to the binding, before that job settles.
-- KEYS[1] record of the job that bound (hash)    KEYS[2] bindings (sorted set: job id -> Unix ms of the end)
-- KEYS[3] index of bindings (hash: digest of a name -> job ids run together); all of one partition
-- ARGV[1] id of the job that bound    ARGV[2] the change: a word of its own for each, no space in it
-- ARGV[3] SubsId that the binding must have, '' for any
-- ARGV[4] new status: 'active', 'unbound', 'replaced', '' as it was    ARGV[5] the job whose binding replaces it, or ''
-- ARGV[6] its new Expiration, Unix ms, '' as it was
-- ARGV[7] BindAxn's parameters that are others now, a JSON object; null: it has none any more
-- ARGV[8] of who compared it with something first: the very text of the parameters that it must still have, and be
--   active; '' for any
-- ARGV[9...] field, value pairs of the record: its new subs_id, phone_no_x
-- Returns 1 changed, 2 changed before, 0 no such binding, -1 its record cannot be read, -2 it is another one by now.
-- Safe to resend, and to repeat by a worker that slept meanwhile: the last eight changes are known by their words, and
-- a change comes after another only once that one is written.
local was = redis.call('HMGET', KEYS[1], 'state', 'subs_id', 'phone_no_x', 'request', 'binding', 'changed_by')
if was[1] ~= 'bound' and was[1] ~= 'old_left_bound' then return 0 end
if ARGV[3] ~= '' and was[2] ~= ARGV[3] then return 0 end
local words = {}
for word in string.gmatch(was[6] or '', '%S+') do
  if word == ARGV[2] then return 2 end
  words[#words + 1] = word
end
words[#words + 1] = ARGV[2]
local is_readable, request = pcall(cjson.decode, was[4] or '')
if not is_readable or type(request) ~= 'table' then return -1 end

if ARGV[8] ~= '' and (was[4] ~= ARGV[8] or (was[5] or 'active') ~= 'active') then return -2 end
-- A sealed number stands in the index by its blind index, which it carries in itself.
local function name_in(value) return string.match(value, '^~1%.[^.]*%.([^.]*)%.') or value end

local function digests_of(subs_id, phone_no_x)
  local names = {subs_id = subs_id, phone_no_x = phone_no_x, out_id = request.OutId, out_order_id = request.OutOrderId}
  local digests = {}
  for kind, value in pairs(names) do
    if value and value ~= '' then digests[string.sub(redis.sha1hex(kind .. ':' .. name_in(value)), 1, 14)] = true end
  end
  return digests
end

local old = digests_of(was[2], was[3])
for name, value in pairs(cjson.decode(ARGV[7])) do
  if value == cjson.null then request[name] = nil else request[name] = value end
end
local fields = {subs_id = was[2], phone_no_x = was[3]}
for i = 9, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end
local new = digests_of(fields.subs_id, fields.phone_no_x)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
local ended_at = string.format('%.0f', math.min(now, tonumber(score or now))) -- it may have lapsed, or ended, before
if score then
  for digest in pairs(old) do
    local ids = not new[digest] and redis.call('HGET', KEYS[3], digest)
    local at = ids and string.find(ids, ARGV[1], 1, true)
    if at then
      ids = string.sub(ids, 1, at - 1) .. string.sub(ids, at + 26)
      if ids == '' then redis.call('HDEL', KEYS[3], digest) else redis.call('HSET', KEYS[3], digest, ids) end
    end
  end
  for digest in pairs(new) do
    local ids = redis.call('HGET', KEYS[3], digest) or ''
    if not string.find(ids, ARGV[1], 1, true) then
      redis.call('HSET', KEYS[3], digest, string.sub(ids .. ARGV[1], -26 * 32))
    end
  end
  local is_ended = (was[5] or 'active') ~= 'active'
  if ARGV[4] == 'unbound' or ARGV[4] == 'replaced' then
    redis.call('ZADD', KEYS[2], ended_at, ARGV[1])
  elseif ARGV[6] ~= '' and (ARGV[4] == 'active' or not is_ended) then
    redis.call('ZADD', KEYS[2], ARGV[6], ARGV[1])
  end
end
if ARGV[4] == 'active' then
  redis.call('HDEL', KEYS[1], 'binding', 'ended_at', 'replaced_by')
elseif ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'binding', ARGV[4])
  redis.call('HSETNX', KEYS[1], 'ended_at', ended_at)
  if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'replaced_by', ARGV[5]) end
end
-- Last: until it is written the change counts as not made.
redis.call('HSET', KEYS[1], 'subs_id', fields.subs_id or '', 'phone_no_x', fields.phone_no_x or '', 'request',
  cjson.encode(request), 'changed_by', table.concat(words, ' ', math.max(1, #words - 7)))
return 1
