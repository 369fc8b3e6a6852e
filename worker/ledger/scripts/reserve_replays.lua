-- Reserves moments for replays to one receiver, so many a second, after those that other replays have reserved.
-- KEYS[1] Unix ms of the first free moment (text)
-- ARGV[1] how many moments    ARGV[2] ms between two, may have a fraction
-- Returns the first of them, Unix ms, as a text with a fraction.
-- A resend reserves them twice: the receiver has a pause of as many moments.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0') or 0)
local free = first + tonumber(ARGV[1]) * tonumber(ARGV[2])
redis.call('SET', KEYS[1], string.format('%.3f', free), 'PX', string.format('%.0f', math.ceil(free - now) + 1))
return string.format('%.3f', first)
