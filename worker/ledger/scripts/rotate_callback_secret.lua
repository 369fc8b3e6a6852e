-- Gives a receiver host, or a named secret, a new key: the others sign on until the grace time ends.
-- KEYS[1] its keys (hash)    KEYS[2] index of all that have keys (set); both of one slot
-- ARGV[1] whose they are, for the index    ARGV[2] fingerprint of the new key    ARGV[3] the new key
-- ARGV[4] the version that its caller has read, 0 for none: whoever comes second is refused and looks again
-- ARGV[5] grace in ms    ARGV[6] most live keys    ARGV[7] '1' where until now the default of all hosts signed, else ''
-- Returns {status, now_ms}, for 'rotated' {status, now_ms, field, value, ...} of the keys as they stand now. overtaken:
-- the version is another by now; current: this key is the newest already; full: too many live keys, {status, now_ms,
-- when the next of them retires in Unix ms}.
-- Safe to resend: a second run finds its key the newest, one version further, and answers as the first did. If a later
-- rotation came between, it is refused and changes nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record, known = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #record, 2 do known[record[i]] = record[i + 1] end
local version = tonumber(known.version or '0')
if version ~= tonumber(ARGV[4]) then
  if version == tonumber(ARGV[4]) + 1 and known.current == ARGV[2] then return {'rotated', now, unpack(record)} end
  return {'overtaken', now}
end
if known.current == ARGV[2] then return {'current', now} end
local ends = now + tonumber(ARGV[5])
local written = {'version', version + 1, 'current', ARGV[2], 'secret:' .. ARGV[2], ARGV[3]}
local dropped, live, next_end = {}, 1, ends
if not known['created_at:' .. ARGV[2]] then
  written[#written + 1] = 'created_at:' .. ARGV[2]
  written[#written + 1] = string.format('%.0f', now)
end
for field in pairs(known) do
  local id = string.match(field, '^created_at:(.+)$')
  if id and id ~= ARGV[2] then
    -- A shorter grace also ends those that were to sign for longer: with 0 the new key alone is left.
    local retires = math.min(tonumber(known['retired_at:' .. id] or ends), ends)
    if retires <= now then
      dropped[#dropped + 1] = id
    else
      live, next_end = live + 1, math.min(next_end, retires)
      written[#written + 1] = 'retired_at:' .. id
      written[#written + 1] = string.format('%.0f', retires)
    end
  end
end
if live > tonumber(ARGV[6]) then return {'full', now, next_end} end
local default_until = known.default_until
if version == 0 and ARGV[7] == '1' then default_until = ends end
if default_until then
  written[#written + 1] = 'default_until'
  written[#written + 1] = string.format('%.0f', math.min(tonumber(default_until), ends))
end
-- The index comes first: a name without keys in it harms nobody.
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], unpack(written))
redis.call('HDEL', KEYS[1], 'retired_at:' .. ARGV[2])
for _, id in ipairs(dropped) do
  redis.call('HDEL', KEYS[1], 'secret:' .. id, 'created_at:' .. id, 'retired_at:' .. id)
end
return {'rotated', now, unpack(redis.call('HGETALL', KEYS[1]))}
