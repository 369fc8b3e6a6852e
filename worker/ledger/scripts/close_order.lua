-- Remembers that an order is closed, for the binds of it that are on their way: settle.lua looks here as they end.
-- KEYS[1] closed orders (sorted set: digest of the OutOrderId -> Unix ms of the close; with 'unbind:' before it, of the
--   last close that asked for its bindings to be ended)
-- ARGV[1] digest of the order    ARGV[2] '1' if its bindings are to be ended    ARGV[3] ms that it is remembered
-- Returns 1.
-- Safe to resend: the order is closed a moment later, before its caller hears of it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text = string.format('%.0f', now)
redis.call('ZADD', KEYS[1], 'GT', now_text, ARGV[1])
if ARGV[2] == '1' then redis.call('ZADD', KEYS[1], 'GT', now_text, 'unbind:' .. ARGV[1]) end
-- As many may go as come, and more; without a further close all go at once.
local old = string.format('(%.0f', now - tonumber(ARGV[3]))
local gone = redis.call('ZRANGE', KEYS[1], '-inf', old, 'BYSCORE', 'LIMIT', 0, 100)
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
