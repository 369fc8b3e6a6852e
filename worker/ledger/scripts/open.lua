-- Files a job, once: writes its record and its first look in the timetable together.
-- KEYS[1] job record (hash)   KEYS[2] timetable of the same partition (sorted set)
-- KEYS[3] of a row of a batch only: the batch's counts in this partition (hash)
-- ARGV[1] timetable member    ARGV[2] digest of the request; behind spaces, others that it may have
--   been filed with
-- ARGV[3] ms until the first look, should no worker take the job before (take_due.lua says how looks are counted)
-- ARGV[4] deadline in ms from now, or ''      ARGV[5] deadline in Unix ms, or ''
-- ARGV[6] seed: random, so it tells this very filing    ARGV[7...] further field, value pairs of the record
-- Returns {status, state, now_ms}: status 1 filed now, 0 the same request was filed before, -1 the id holds another request.
-- Safe to resend: a second run with the same digest changes nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'digest', 'state', 'seed')
if known[1] then
  if string.find(' ' .. ARGV[2] .. ' ', ' ' .. known[1] .. ' ', 1, true) then
    -- Its reply was lost, and the command sent again: the caller must not take his own filing for an earlier one.
    if ARGV[6] ~= '' and known[3] == ARGV[6] then return {1, known[2], now} end
    return {0, known[2], now}
  end
  return {-1, known[2], now}
end
-- The producer publishes it next: a first look at what became of the message.
local look = now + tonumber(ARGV[3]) + 1 / 2048
local deadline = ''
if ARGV[4] ~= '' then deadline = now + tonumber(ARGV[4]) elseif ARGV[5] ~= '' then deadline = tonumber(ARGV[5]) end
if deadline ~= '' and deadline < look then look = deadline end
-- The look comes first: should Redis refuse the second write, a look at nothing is better than a job nobody looks at.
redis.call('ZADD', KEYS[2], string.format('%.17g', look), ARGV[1])
redis.call('HSET', KEYS[1], 'digest', string.match(ARGV[2], '^[^ ]*'), 'state', 'accepted', 'accepted_at',
  string.format('%.0f', now), 'seed', ARGV[6], unpack(ARGV, 7))
if deadline ~= '' then redis.call('HSET', KEYS[1], 'deadline_at', string.format('%.0f', deadline)) end
if KEYS[3] then redis.call('HINCRBY', KEYS[3], 'opened', 1) end
return {1, 'accepted', now}
