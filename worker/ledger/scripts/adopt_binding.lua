-- Takes a binding into the registry that no job of ours made: writes its record, as a bound job's, and its indexes.
-- KEYS[1] record (hash)    KEYS[2] bindings (sorted set: id -> Unix ms of the end)
-- KEYS[3] index of bindings (hash: digest of a name -> ids run together); all of one partition
-- ARGV[1] its id    ARGV[2] its end, Unix ms    ARGV[3] digests of its names, 14 letters each
-- ARGV[4...] field, value pairs of the record
-- Returns 1 taken in, 0 there is a record of this id already.
-- Safe to resend: a second run finds the record and changes nothing.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local time = redis.call('TIME')
local now_text = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
-- The record comes last: until it is there, the same call writes the rest again.
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
for digest in string.gmatch(ARGV[3], string.rep('%x', 14)) do
  local ids = redis.call('HGET', KEYS[3], digest) or ''
  if not string.find(ids, ARGV[1], 1, true) then
    redis.call('HSET', KEYS[3], digest, string.sub(ids .. ARGV[1], -26 * 32))
  end
end
redis.call('HSET', KEYS[1], 'state', 'bound', 'accepted_at', now_text, 'finished_at', now_text, unpack(ARGV, 4))
return 1
