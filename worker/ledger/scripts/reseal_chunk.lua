-- Writes a chunk of a batch's rows anew, unless it has changed since it was read.
-- KEYS[1] the chunk (text: 16 bytes of digest, then the rows, packed)
-- ARGV[1] SHA-1 of what was read    ARGV[2] what to write
-- Returns 1 written, 0 it is another one by now, or gone.
-- Safe to resend: a second run finds what the first one wrote, and answers 0: its caller looks again.
local now = redis.call('GET', KEYS[1])
if not now or redis.sha1hex(now) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
