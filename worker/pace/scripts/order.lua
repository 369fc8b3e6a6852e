-- Writes an operator's order, with when and by whom; one that stands already stays as it is, with its own when and whom.
-- KEYS[1] and further: orders of actions (hashes: per_second, paused_LANE; beside each _at, Unix ms by this server's
-- clock, and _by)
-- ARGV[1] by whom    ARGV[2] value; "" takes the order back: its field goes, _at and _by tell of that
-- ARGV[3] and further: fields, the same for each action
-- Returns how many fields changed.
-- Safe to resend: a second run finds the order standing and changes nothing. An opposite order that came in between is
-- undone by it; its `at` is then the later one.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local value, changed = ARGV[2], 0
for key = 1, #KEYS do
  for place = 3, #ARGV do
    local field = ARGV[place]
    local stands = redis.call('HGET', KEYS[key], field) or ''
    if stands ~= value then
      if value == '' then
        redis.call('HDEL', KEYS[key], field)
      else
        redis.call('HSET', KEYS[key], field, value)
      end
      redis.call('HSET', KEYS[key], field .. '_at', now, field .. '_by', ARGV[1])
      changed = changed + 1
    end
  end
end
return changed
