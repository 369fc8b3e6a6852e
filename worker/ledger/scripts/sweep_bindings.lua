-- Forgets bindings that ended so long ago that nobody asks for them any more, and lets their jobs' records go.
-- KEYS[1] bindings (sorted set: job id -> Unix ms of the end)    KEYS[2] index of bindings (hash: digest -> job ids)
-- KEYS[3...] records of the jobs that bound (hashes); all of one partition
-- ARGV[1] ms that a binding stays known after its end    ARGV[2] ms to keep a finished record
-- ARGV[3...] ids of the jobs, as KEYS[3...]
-- Returns how many were forgotten; those that turn out not to be due are left alone.
-- Safe to resend: what was forgotten is not found again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A sealed number stands in the index by its blind index, which it carries in itself.
local function name_in(value) return string.match(value, '^~1%.[^.]*%.([^.]*)%.') or value end

local function take_out_of_index(id, kind, value)
  if type(value) ~= 'string' or value == '' then return end
  local digest = string.sub(redis.sha1hex(kind .. ':' .. name_in(value)), 1, 14)
  local ids = redis.call('HGET', KEYS[2], digest)
  local at = ids and string.find(ids, id, 1, true)
  if not at then return end
  ids = string.sub(ids, 1, at - 1) .. string.sub(ids, at + 26)
  if ids == '' then redis.call('HDEL', KEYS[2], digest) else redis.call('HSET', KEYS[2], digest, ids) end
end

local forgotten = 0
for i = 3, #KEYS do
  local id = ARGV[i]
  local ended_at = tonumber(redis.call('ZSCORE', KEYS[1], id) or '')
  local is_over = ended_at and ended_at + tonumber(ARGV[1]) <= now
  -- A kept binding stays until somebody has looked at it, however late: it is bound anew, or told of as lost.
  if is_over and redis.call('HEXISTS', KEYS[i], 'renew_due') == 0 then
    local record = redis.call('HMGET', KEYS[i], 'subs_id', 'phone_no_x', 'request', 'finished_at')
    local is_readable, request = pcall(cjson.decode, record[3] or '')
    if not is_readable or type(request) ~= 'table' then request = {} end
    take_out_of_index(id, 'subs_id', record[1])
    take_out_of_index(id, 'phone_no_x', record[2])
    take_out_of_index(id, 'out_id', request.OutId)
    take_out_of_index(id, 'out_order_id', request.OutOrderId)
    -- At a time that has passed, Redis deletes the record at once.
    redis.call('PEXPIREAT', KEYS[i], string.format('%.0f', (tonumber(record[4] or '') or 0) + tonumber(ARGV[2])))
    redis.call('ZREM', KEYS[1], id)
    forgotten = forgotten + 1
  end
end
return forgotten
