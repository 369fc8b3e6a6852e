-- Writes what a claim came to, with the callback it owes, in one step. Refused unless the token still holds the lease.
-- KEYS[1] job record (hash)    KEYS[2] timetable (sorted set)    KEYS[3] index of jobs in doubt (sorted set)
-- KEYS[4] index of failed jobs (sorted set)    KEYS[5] callback record (hash)
-- KEYS[6] line of the callback's receiver (sorted set)    KEYS[7] bindings (sorted set: job id -> Unix ms of the end)
-- KEYS[8] index of bindings (hash: digest of a name -> job ids run together); all of one partition
-- KEYS[9] closed orders, as close_order.lua writes them    KEYS[10] renewals (sorted set: binding id -> due)
-- KEYS[11] of a row of a batch only, at its end or when its wait tells of trouble: the batch's counts here (hash)
-- KEYS[12] the outcomes of the row's chunk here (hash: index -> [state, round, tries, code, X, SubsId, old X, message])
-- ARGV[1] token                ARGV[2] the job's timetable member    ARGV[3] new state
-- ARGV[4] ms until it may be claimed again, for waiting
-- ARGV[5] what is known of the attempt: 'closed', 'open' (may have been done) or 'unsent' (its number is given back)
-- ARGV[6] ms to keep a finished record    ARGV[7] channel that tells waiters of the end
-- ARGV[8] the callback's timetable member, '' for none    ARGV[9] ms of the lease of who tries it at once; 0: it stands
--   in its receiver's line, and in the timetable for the time when it is given up
-- ARGV[10] ms after which it is given up in any case      ARGV[11] its own deadline, Unix ms, 0 for none
-- ARGV[12] timetable member of the line
-- ARGV[13] how many ms later than that the timetable looks
-- ARGV[14] how many of the arguments from the 19th on are pairs of the job's record; the rest are the callback's pairs
-- ARGV[15] Unix ms until which a binding is bound that this settlement tells of, 0 for none: the job's record then stays,
--   as the binding's, until sweep_bindings.lua takes it out    ARGV[16] digests of the binding's names, 14 letters each
-- ARGV[17] digest of the binding's order, '' for none    ARGV[18] timetable member of the partition's renewals
-- Returns {status, now_ms}: 1 settled (also when this token settled it before), 0 refused.
local function register()
  local id = string.match(ARGV[2], ':(.*)$')
  redis.call('ZADD', KEYS[7], ARGV[15], id)
  local digests, entries = {}, {}
  for at = 1, #ARGV[16], 14 do digests[#digests + 1] = string.sub(ARGV[16], at, at + 13) end
  if #digests == 0 then return end
  local known = redis.call('HMGET', KEYS[8], unpack(digests))
  for i = 1, #digests do
    -- A name that half the shop shares must not make each bind dearer: its newest 32 are enough.
    entries[2 * i - 1], entries[2 * i] = digests[i], known[i] and string.sub(known[i] .. id, -26 * 32) or id
  end
  redis.call('HSET', KEYS[8], unpack(entries))
end

-- Its order was closed while the bind was on its way: it is not kept and, where that was asked for, a session of the
-- renewals comes to unbind it.
local function heed_close(asked_at, now_text)
  local function is_asked_before(member)
    return asked_at <= tonumber(redis.call('ZSCORE', KEYS[9], member) or '-1')
  end
  if not is_asked_before(ARGV[17]) then return end
  local id = string.match(ARGV[2], ':(.*)$')
  if is_asked_before('unbind:' .. ARGV[17]) then
    redis.call('HSET', KEYS[1], 'renew_closed', 'unbind', 'renew_due', now_text)
    redis.call('ZADD', KEYS[10], now_text, id)
    redis.call('ZADD', KEYS[2], 'LT', now_text, ARGV[18])
    return
  end
  local is_readable, policy = pcall(cjson.decode, redis.call('HGET', KEYS[1], 'renew') or '')
  if is_readable and type(policy) == 'table' and policy['while'] == 'open' then
    redis.call('HSET', KEYS[1], 'renew_closed', 'closed')
    redis.call('HDEL', KEYS[1], 'renew_due')
    redis.call('ZREM', KEYS[10], id)
  end
end

local job = redis.call('HMGET', KEYS[1], 'state', 'token', 'deadline_at', 'accepted_at', 'asked_at')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if job[2] ~= ARGV[1] then return {0, now} end
if job[1] ~= 'submitting' then return {1, now} end
local now_text = string.format('%.0f', now)
local pairs_end = 18 + tonumber(ARGV[14])
redis.call('HDEL', KEYS[1], 'lease_until', 'is_probe', 'is_late', 'rescues')
redis.call('HSET', KEYS[1], 'state', ARGV[3], unpack(ARGV, 19, pairs_end))
if ARGV[5] ~= 'open' then redis.call('HSET', KEYS[1], 'open', '0') end
if ARGV[5] == 'unsent' then redis.call('HINCRBY', KEYS[1], 'attempts', -1) end
if ARGV[3] == 'waiting' then
  local look = now + tonumber(ARGV[4])
  local deadline = tonumber(job[3] or '0') or 0 -- 0: none, or none any more
  if deadline > 0 and deadline < look then look = math.max(deadline, now) end
  redis.call('HSET', KEYS[1], 'next_at', string.format('%.0f', look))
  redis.call('ZADD', KEYS[2], string.format('%.0f', look + tonumber(ARGV[13])), ARGV[2])
else
  redis.call('HSET', KEYS[1], 'finished_at', now_text)
  redis.call('ZREM', KEYS[2], ARGV[2])
  if ARGV[3] == 'in_doubt' then
    redis.call('ZADD', KEYS[3], now_text, ARGV[2])
  else
    redis.call('HDEL', KEYS[1], 'open', 'seed', 'next_at', 'began_at', 'deadline_at', 'look_up_since', 'had_doubt',
      'old', 'refused_since')
    if ARGV[15] == '0' then
      redis.call('PEXPIRE', KEYS[1], ARGV[6])
    else
      register()
      if ARGV[17] ~= '' then heed_close(tonumber(job[5] or job[4] or '0'), now_text) end
    end
  end
  if ARGV[3] == 'failed' then
    redis.call('ZADD', KEYS[4], now_text, ARGV[2])
    -- Records of older failures are gone by now.
    redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('(%.0f', now - tonumber(ARGV[6])))
  end
  redis.call('PUBLISH', ARGV[7], ARGV[3])
end
if KEYS[11] and redis.call('EXISTS', KEYS[11]) == 1 then
  local row = redis.call('HMGET', KEYS[1], 'batch', 'attempts', 'code', 'phone_no_x', 'subs_id', 'old_phone_no_x',
    'message')
  for i = 2, 7 do row[i] = row[i] or '' end
  if ARGV[3] == 'waiting' then
    redis.call('HSET', KEYS[11], 'trouble', row[3], 'trouble_at', now_text)
  else
    local index, round = string.match(row[1], '/(%d+)/(%d+)$')
    local is_done = ARGV[3] == 'bound' or ARGV[3] == 'updated' or ARGV[3] == 'unbound'
    if is_done then row[3], row[7] = '', '' end
    if #row[7] > 120 then row[7] = string.gsub(string.sub(row[7], 1, 120), '[\192-\255][\128-\191]*$', '') end
    local outcome = {ARGV[3], tonumber(round), tonumber(row[2]) or 0, row[3], row[4], row[5], row[6], row[7]}
    while outcome[#outcome] == '' do outcome[#outcome] = nil end
    local before = redis.call('HGET', KEYS[12], index)
    before = before and cjson.decode(before)
    if before then
      redis.call('HINCRBY', KEYS[11], 'state:' .. before[1], -1)
      if (before[4] or '') ~= '' then redis.call('HINCRBY', KEYS[11], 'code:' .. before[4], -1) end
    end
    -- A doubt that is resolved had closed its job before.
    if not before or before[2] ~= tonumber(round) or before[1] == 'refused' then
      redis.call('HINCRBY', KEYS[11], 'closed', 1)
    end
    redis.call('HINCRBY', KEYS[11], 'state:' .. ARGV[3], 1)
    redis.call('HSET', KEYS[11], 'ended_at', now_text)
    if row[3] ~= '' then redis.call('HINCRBY', KEYS[11], 'code:' .. row[3], 1) end
    redis.call('HSET', KEYS[12], index, cjson.encode(outcome))
  end
end
if ARGV[8] ~= '' then
  local give_up = now + tonumber(ARGV[10])
  if tonumber(ARGV[11]) > 0 then give_up = math.min(give_up, tonumber(ARGV[11])) end
  local give_up_text = string.format('%.0f', give_up)
  redis.call('HSET', KEYS[5], 'created_at', now_text, 'give_up_at', give_up_text, unpack(ARGV, pairs_end + 1))
  if tonumber(ARGV[9]) > 0 then
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[9])), ARGV[8])
  else
    redis.call('ZADD', KEYS[2], give_up_text, ARGV[8])
    redis.call('ZADD', KEYS[2], 'LT', now_text, ARGV[12])
    -- Checkouts' stand before all others, as if they had waited for thirty years.
    local since = redis.call('HEXISTS', KEYS[5], 'checkout') == 1 and now - 1e12 or now
    redis.call('ZADD', KEYS[6], string.format('%.0f', since), ARGV[8])
  end
end
return {1, now}
