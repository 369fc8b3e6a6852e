-- Writes fields of a record under another key, unless one of them has changed since it was read.
-- KEYS[1] record (hash)    KEYS[2] index of bindings of the same partition (hash: digest of a name -> job ids)
-- ARGV[1] the binding whose name changes with it, '' for none
-- ARGV[2] digest of its name so far, 14 letters    ARGV[3] digest of its name from now on
-- ARGV[4...] field, text that was read, text to write
-- Returns 1 written, 0 it is another record by now: nothing is written.
-- Safe to resend: a second run finds the texts to write and writes them again.
for i = 4, #ARGV, 3 do
  local now = redis.call('HGET', KEYS[1], ARGV[i])
  if not now or (now ~= ARGV[i + 1] and now ~= ARGV[i + 2]) then return 0 end
end
if ARGV[1] ~= '' then
  local ids = redis.call('HGET', KEYS[2], ARGV[2])
  local at = ids and string.find(ids, ARGV[1], 1, true)
  if at then
    local others = redis.call('HGET', KEYS[2], ARGV[3]) or ''
    if not string.find(others, ARGV[1], 1, true) then
      redis.call('HSET', KEYS[2], ARGV[3], string.sub(others .. ARGV[1], -26 * 32))
    end
    ids = string.sub(ids, 1, at - 1) .. string.sub(ids, at + 26)
    if ids == '' then redis.call('HDEL', KEYS[2], ARGV[2]) else redis.call('HSET', KEYS[2], ARGV[2], ids) end
  end
end
for i = 4, #ARGV, 3 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2]) end
return 1
