-- Puts bindings where they belong: among those to be renewed now, or later.
-- KEYS[1] renewals (sorted set: binding id -> due)    KEYS[2] renewals whose time has come (sorted set: binding id -> end);
-- both of one partition
-- ARGV[1], ARGV[2], ARGV[3], and on: triples of a binding id, 'due' or 'later', and a score: its end, or the next look
-- Returns how many were moved. One that was put off, or taken out, meanwhile stays where it is.
-- Safe to resend: moves to the same places again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local moved = 0
for i = 1, #ARGV, 3 do
  local id, place, score = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local look = tonumber(redis.call('ZSCORE', KEYS[1], id) or '')
  if redis.call('ZSCORE', KEYS[2], id) or (look and look <= now) then
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
    if place == 'due' then redis.call('ZADD', KEYS[2], score, id) else redis.call('ZADD', KEYS[1], score, id) end
    moved = moved + 1
  end
end
return moved
