-- Reads the keys of a receiver host or a named secret, with the time by which they are live or not.
-- KEYS[1] its keys (hash)
-- No ARGV[1]: it takes no arguments.
-- Returns {now_ms, field, value, ...}, no pairs where there are no keys. Reads only, so it may be resent.
local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), unpack(redis.call('HGETALL', KEYS[1]))}
