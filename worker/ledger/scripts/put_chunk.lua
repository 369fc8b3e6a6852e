-- Puts one chunk of a batch's rows, once.
-- KEYS[1] batch (hash)    KEYS[2] the chunk (text: 16 bytes of digest, then the rows, packed)
-- ARGV[1] the chunk's number, from 0    ARGV[2] how many rows it has    ARGV[3] digest of the rows    ARGV[4] the packed rows
-- ARGV[5] another digest that the same rows may have been put with
-- Returns 1 put now, 0 there before with the same rows, -1 there with others, -2 no such batch, -3 the batch takes no rows.
-- Safe to resend: a second run finds the same rows.
local batch = redis.call('HMGET', KEYS[1], 'state', 'removing', 'top')
if not batch[1] or batch[2] then return -2 end
local known = redis.call('GETRANGE', KEYS[2], 0, 15)
if known ~= '' then return (known == ARGV[3] or known == ARGV[5]) and 0 or -1 end
if batch[1] ~= 'uploading' then return -3 end
redis.call('SET', KEYS[2], ARGV[3] .. ARGV[4])
redis.call('HINCRBY', KEYS[1], 'rows', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'chunks', 1)
if tonumber(ARGV[1]) > tonumber(batch[3]) then redis.call('HSET', KEYS[1], 'top', ARGV[1]) end
return 1
