-- Puts a job in line for a binding, and tells whether it may change the binding now.
-- KEYS[1] line (sorted set: job id -> Unix ms of its acceptance)    KEYS[2] holder (string: job id); of one partition
-- ARGV[1] job id    ARGV[2] Unix ms of its acceptance    ARGV[3] ms after which a line that nobody asks for is forgotten
-- Returns '' where the job holds the binding now, else the id of the job before it: the holder, or the first in line.
-- Safe to resend: a job stands in line once, and who holds the binding holds it still.
redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local holder = redis.call('GET', KEYS[2])
if not holder then
  holder = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if holder ~= ARGV[1] then return holder end
end
redis.call('SET', KEYS[2], holder, 'PX', ARGV[3]) -- both keys end together, or a holder could lose it to the line
return holder == ARGV[1] and '' or holder
