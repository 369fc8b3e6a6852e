-- Notes which versions a worker writes, where they are higher than what was noted before.
-- KEYS[1] formats (hash: name -> version, name:by -> the release that was the first to write it)
-- ARGV[1] release of the worker    ARGV[2...] name, version pairs
-- Returns how many have risen.
-- Safe to resend: a second run finds its own versions and changes nothing.
local risen = 0
for i = 2, #ARGV, 2 do
  local known = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0') or 0
  if tonumber(ARGV[i + 1]) > known then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i] .. ':by', ARGV[1])
    risen = risen + 1
  end
end
return risen
