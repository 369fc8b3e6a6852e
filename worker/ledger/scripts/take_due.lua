-- Takes what is due from the timetable and pushes it forward, so that a taker's death loses nothing.
-- KEYS[1] timetable (sorted set: member -> Unix ms of the next look)
-- ARGV[1] how many at most    ARGV[2] ms until the next look at what is taken
-- Returns the members. Safe to resend: what an unheard run took comes due again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ARGV[1])
local again = string.format('%.0f', now + tonumber(ARGV[2]))
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', again, member) end
return due
