-- Counts a job for a row of a batch whose job was there before the batch was: one of a removed batch of the same name.
-- KEYS[1] record of the job (hash)    KEYS[2] the batch's counts (hash)    KEYS[3] outcomes of the row's chunk (hash)
-- ARGV[1] the row's place    ARGV[2] its index in the chunk    ARGV[3] round
-- Returns 1 adopted, 0 it is counted already: the row was fed twice, as after a crash.
-- Safe to resend: a second run finds it counted.
local before = redis.call('HGET', KEYS[3], ARGV[2])
before = before and cjson.decode(before)
if before and before[2] == tonumber(ARGV[3]) then return 0 end
local row = redis.call('HMGET', KEYS[1], 'state', 'batch', 'attempts', 'code', 'phone_no_x', 'subs_id', 'old_phone_no_x',
  'message')
local state = row[1]
local has_ended = state ~= 'accepted' and state ~= 'submitting' and state ~= 'waiting'
if not state or (row[2] == ARGV[1] and not has_ended) then return 0 end
redis.call('HSET', KEYS[1], 'batch', ARGV[1])
redis.call('HINCRBY', KEYS[2], 'opened', 1)
if not has_ended then return 1 end
for i = 3, 8 do row[i] = row[i] or '' end
if state == 'bound' or state == 'updated' or state == 'unbound' then row[4], row[8] = '', '' end
if #row[8] > 120 then row[8] = string.gsub(string.sub(row[8], 1, 120), '[\192-\255][\128-\191]*$', '') end
local outcome = {state, tonumber(ARGV[3]), tonumber(row[3]) or 0, row[4], row[5], row[6], row[7], row[8]}
while outcome[#outcome] == '' do outcome[#outcome] = nil end
if before then
  redis.call('HINCRBY', KEYS[2], 'state:' .. before[1], -1)
  if (before[4] or '') ~= '' then redis.call('HINCRBY', KEYS[2], 'code:' .. before[4], -1) end
end
redis.call('HINCRBY', KEYS[2], 'closed', 1)
redis.call('HINCRBY', KEYS[2], 'state:' .. state, 1)
if row[4] ~= '' then redis.call('HINCRBY', KEYS[2], 'code:' .. row[4], 1) end
redis.call('HSET', KEYS[3], ARGV[2], cjson.encode(outcome))
return 1
