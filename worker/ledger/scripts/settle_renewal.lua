-- Writes what a renewal came to, or a step on the way to a binding made anew, with the callback that it owes.
-- KEYS[1] record of the job that bound (hash)    KEYS[2] renewals (sorted set: binding id -> due)
-- KEYS[3] renewals whose time has come (sorted set: binding id -> end)
-- KEYS[4] failing renewals (hash: binding id -> code)    KEYS[5] bindings (sorted set: binding id -> end)
-- KEYS[6] timetable (sorted set)    KEYS[7] callback record (hash)
-- KEYS[8] line of the callback's receiver (sorted set); all of one partition
-- ARGV[1] binding id    ARGV[2] how many renewals it had    ARGV[3] which step it had reached, '' for none
-- ARGV[4] Unix ms of the next look, '' for never    ARGV[5] timetable member of the renewals
-- ARGV[6] its new Expiration, as on the wire, '' as it was    ARGV[7] the same in Unix ms
-- ARGV[8] code of what is failing, '' for nothing    ARGV[9] new status 'lapsed' or 'replaced', '' as it was
-- ARGV[10] a line of its history: a word, '' for none
-- ARGV[11] the callback's timetable member, '' for none    ARGV[12] ms after which it is given up in any case
-- ARGV[13] its own deadline, Unix ms, 0 for none    ARGV[14] timetable member of the line
-- ARGV[15] '1' if the request may still be under way, so that the binding stays held    ARGV[16] how many of the
-- following are pairs of the record, '' deletes a field; the rest are the callback's pairs
-- Returns 1 written, 0 refused: the binding is another one by now than was read, or is not bound anew any more, for
-- its order was closed.
-- Safe to resend: a second run finds another number or step and is refused, or writes the same. A line of history may
-- then stand twice.
local was = redis.call('HMGET', KEYS[1], 'state', 'binding', 'renewals', 'renew_step', 'renew_closed', 'history', 'request')
local status = was[2] or 'active'
if was[1] ~= 'bound' and was[1] ~= 'old_left_bound' then return 0 end
if (was[3] or '0') ~= ARGV[2] or (was[4] or '') ~= ARGV[3] then return 0 end
if status ~= 'active' and not (status == 'lapsed' and ARGV[3] ~= '') then return 0 end
local is_first_step = ARGV[3] == '' and ARGV[9] == 'lapsed' and ARGV[4] ~= ''
if was[5] and is_first_step then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text = string.format('%.0f', now)
if ARGV[15] ~= '1' then redis.call('HDEL', KEYS[1], 'renewing_until', 'renewing_by') end
local is_readable, request = pcall(cjson.decode, was[7] or '')
if not is_readable or type(request) ~= 'table' then request = {} end
if ARGV[6] ~= '' then
  request.Expiration = ARGV[6]
  redis.call('HSET', KEYS[1], 'request', cjson.encode(request))
  redis.call('ZADD', KEYS[5], ARGV[7], ARGV[1])
end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'binding', ARGV[9])
  redis.call('HSETNX', KEYS[1], 'ended_at', now_text)
  if status == 'active' then
    redis.call('ZADD', KEYS[5], 'LT', now_text, ARGV[1])
  end
end
local pairs_end = 16 + tonumber(ARGV[16])
for i = 17, pairs_end, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
if ARGV[10] ~= '' then
  local is_list, history = pcall(cjson.decode, was[6] or '[]')
  if not is_list or type(history) ~= 'table' then history = {} end
  history[#history + 1] = {now, ARGV[10], ARGV[8], request.Expiration or ''}
  while #history > 20 do table.remove(history, 1) end
  for _, line in ipairs(history) do line[1] = string.format('%.0f', tonumber(line[1])) end
  redis.call('HSET', KEYS[1], 'history', cjson.encode(history))
end
redis.call('ZREM', KEYS[3], ARGV[1])
-- An order that was closed meanwhile has no further renewal; a binding being made anew is seen to its end.
if ARGV[4] == '' or (was[5] and ARGV[3] == '') then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[1], 'renew_due')
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
  redis.call('ZADD', KEYS[6], 'LT', ARGV[4], ARGV[5])
  redis.call('HSET', KEYS[1], 'renew_due', ARGV[4])
end
if ARGV[8] == '' then redis.call('HDEL', KEYS[4], ARGV[1]) else redis.call('HSET', KEYS[4], ARGV[1], ARGV[8]) end
if ARGV[11] ~= '' then
  local give_up = now + tonumber(ARGV[12])
  if tonumber(ARGV[13]) > 0 then give_up = math.min(give_up, tonumber(ARGV[13])) end
  local give_up_text = string.format('%.0f', give_up)
  redis.call('HSET', KEYS[7], 'created_at', now_text, 'give_up_at', give_up_text, unpack(ARGV, pairs_end + 1))
  redis.call('ZADD', KEYS[6], give_up_text, ARGV[11])
  redis.call('ZADD', KEYS[6], 'LT', now_text, ARGV[14])
  redis.call('ZADD', KEYS[8], now_text, ARGV[11])
end
return 1
