-- Takes, or lengthens, the lease of a partition's renewals, moves those whose time has come, and tells what is to be done.
-- KEYS[1] lease (string: token)    KEYS[2] renewals (sorted set: binding id -> due)
-- KEYS[3] renewals whose time has come (sorted set: binding id -> end)    KEYS[4] timetable (sorted set)
-- KEYS[5] bindings (sorted set: binding id -> end); all of one partition
-- ARGV[1] token of the session    ARGV[2] lease in ms    ARGV[3] timetable member of the renewals
-- ARGV[4] how many are moved at most    ARGV[5] how many ids at most of those that end first
-- Returns {-1, ms} while another session has the lease for so long; else {now_ms, whether more wait to be moved,
-- n, n ids whose time has come and that are no bindings on record, and then the ids to renew, first to end first}.
-- Safe to resend: the same token has the lease already.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  local left = math.max(1, redis.call('PTTL', KEYS[1]))
  redis.call('ZADD', KEYS[4], string.format('%.0f', now + left), ARGV[3])
  return {-1, left}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[4], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[3])
local come = redis.call('ZRANGE', KEYS[2], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ARGV[4])
local reply = {now, #come == tonumber(ARGV[4]) and 1 or 0, 0}
for _, id in ipairs(come) do
  local ends_at = redis.call('ZSCORE', KEYS[5], id)
  if ends_at then
    redis.call('ZADD', KEYS[3], ends_at, id)
    redis.call('ZREM', KEYS[2], id)
  else
    reply[#reply + 1] = id
  end
end
reply[3] = #reply - 3
if tonumber(ARGV[5]) > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, tonumber(ARGV[5]) - 1)) do reply[#reply + 1] = id end
end
return reply
