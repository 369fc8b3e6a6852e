-- Stops an account after an answer that no request of it can get past.
-- KEYS[1] stop of the account (hash)
-- ARGV[1] the answer's code    ARGV[2] 1 if the answer was a probe's    ARGV[3] first interval between probes, ms
-- ARGV[4] longest interval, ms    ARGV[5] ms after which a stop that nobody asks about is forgotten
-- Returns the probes that failed so far, counting the first answer as one; 0 if it was stopped already.
-- Safe to resend: at worst a probe is counted twice, and the next comes later.
local fails = tonumber(redis.call('HGET', KEYS[1], 'fails') or '0')
if fails > 0 and ARGV[2] == '0' then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval = math.min(tonumber(ARGV[4]), tonumber(ARGV[3]) * 2 ^ math.min(fails, 30))
redis.call('HSET', KEYS[1], 'fails', fails + 1, 'code', ARGV[1], 'next_probe_at', string.format('%.0f', now + interval))
redis.call('HSETNX', KEYS[1], 'since', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return fails + 1
