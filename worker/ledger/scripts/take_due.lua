-- Takes what is due from the timetable and pushes it forward, so that a taker's death loses nothing.
-- KEYS[1] timetable (sorted set: member 'lane:id' -> time of the next look)
-- ARGV[1] how many at most    ARGV[2] ms from a publication to the first look at what became of it
-- ARGV[3...] lane, Unix ms pairs: messages of this lane published before that time have been taken up by a worker
-- Returns {now_ms, how many are still queued, member, ...}: the members to publish now.
-- A whole score is a time at which something must happen. A score with a fraction of n/2048 is the n-th look at an
-- entry that was published and of which nothing was heard: published_at + ARGV[2] * 2^(n-1). While its message must
-- still be queued, it is not published again, and looked at half as often each time.
-- Safe to resend: what an unheard run took comes due again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local look = tonumber(ARGV[2])
local taken_up = {}
for i = 3, #ARGV, 2 do taken_up[ARGV[i]] = tonumber(ARGV[i + 1]) end
local due = redis.call('ZRANGE', KEYS[1], '-inf', string.format('(%.0f', now + 1), 'BYSCORE', 'LIMIT', 0, ARGV[1],
  'WITHSCORES')
local reply = {now, 0}
for i = 1, #due, 2 do
  local member, score = due[i], tonumber(due[i + 1])
  local whole = math.floor(score)
  local looks = math.floor((score - whole) * 2048 + 0.5)
  local published_at = now
  if looks > 0 then published_at = whole - look * 2 ^ (looks - 1) end
  local lane = string.match(member, '^[^:]*')
  if looks > 0 and published_at >= (taken_up[lane] or now) then
    reply[2] = reply[2] + 1
    while published_at + look * 2 ^ (looks - 1) <= now do looks = looks + 1 end
  else
    reply[#reply + 1] = member
    published_at, looks = now, 1
  end
  local again = published_at + look * 2 ^ (looks - 1) + looks / 2048
  redis.call('ZADD', KEYS[1], 'XX', string.format('%.17g', again), member)
end
return reply
