-- Counts what became of earlier calls, and gives places in the schedule of an account's action to one lane.
-- KEYS[1] schedule (hash; instants are Unix us by this server's clock: born, seen, tat (free again at), cut_at, pause, …)
-- KEYS[2] stop of the account (hash: code, fails, next_probe_at in Unix ms), absent while the account is good
-- ARGV[1] lane: 0 checkout (books a place in the future), 1 renewal, 2 batch    ARGV[2] places wanted, 0 to report only
-- ARGV[3] longest wait the caller can stand, us
-- ARGV[4] most calls per second    ARGV[5] least
-- ARGV[6], [7], [8] how far ahead of now the schedule may run for checkout, for this lane, for batch, us
-- ARGV[9] share of the rate assured to each lane below checkout
-- ARGV[10] ms for which a probe of a stopped account keeps all others from probing
-- ARGV[11] calls that were processed    ARGV[12] calls that were throttled, granted in epoch ARGV[13]
-- ARGV[14] us for which the provider wants silence, 0 for none
-- ARGV[15], [16] the caller's last reply: born and tat, 0 for none
-- ARGV[17] tat after a lease of whose end places went unused, 0 for none    ARGV[18] how long these are, us
-- Returns {granted, wait_us, stop, us between two places, epoch, born, tat}, the last four as strings: with places, the
-- first is to be used after that wait; without, it is worth asking again after it.
-- stop 0: the account is good. 1: it is stopped. 2: it is stopped and this one place is the probe's.
-- A resend takes places twice (the rate is kept, the first ones are forgone) and counts processed calls twice, which
-- can only soften one cut. A throttled call cuts once: the first run began a new epoch. What comes back unused does
-- so once: the schedule has moved.
-- The rate's rule, and how its figures were found: docs/decisions/0010-one-adaptive-pace.md.
local SLOW_S, FAST_S = 10, 7
local LARGEST_CUT, DEPTH_CALLS, SHALLOWEST, DEEPEST, LEVEL_OF_DEPTH = 0.5, 0.8, 0.02, 0.05, 0.33
local AGAIN, LEAST_AGAIN, REFRACTORY, SPAN = 1600000, 0.95, 500000, 1000000
local FURTHEST, IDLE, LONGEST_PAUSE = 2000000, 2000000, 60000000

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lane, wanted, longest_wait = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ceiling, floor = tonumber(ARGV[4]), tonumber(ARGV[5])
local checkout_depth, lane_depth, batch_depth = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local assured_share = tonumber(ARGV[9])
local ok, throttled = tonumber(ARGV[11]), tonumber(ARGV[12])

local NAMES = {'born', 'seen', 'tat', 'epoch', 'cut', 'wmax', 'cut_at', 'count', 'count_at', 'count_before',
  'count_before_us', 'accepted_since', 'refused_since', 'assured_1', 'assured_2', 'pause'}
local held = redis.call('HMGET', KEYS[1], unpack(NAMES))
local s = {}
for place, name in ipairs(NAMES) do s[name] = tonumber(held[place] or '0') or 0 end
local known = s.born ~= 0
if not known then
  -- First call, or Redis lost it: start as if the burst were used up, so that it is never given twice.
  local interval = 1000000 / ceiling
  for _, name in ipairs(NAMES) do s[name] = 0 end
  s.born, s.seen, s.epoch, s.count_at = now, now, now, now
  s.tat = now + math.max(checkout_depth, interval) - interval
elseif now < s.seen then
  -- The clock jumped back: all instants go with it.
  local ahead = s.seen - now
  for _, name in ipairs({'tat', 'count_at', 'assured_1', 'assured_2', 'pause'}) do s[name] = s[name] - ahead end
  if s.cut_at ~= 0 then s.cut_at = s.cut_at - ahead end
  s.seen = now
end

-- The rate: from the cut back to the level where calls were throttled, hesitating there, then on and faster.
local rate = ceiling
if s.cut_at ~= 0 then
  -- Rounded, so that no platform's last binary digit decides.
  local level_s = math.floor(SLOW_S * (1 - s.cut / s.wmax) ^ (1 / 3) * 1000 + 0.5) / 1000
  local since, idle = now - s.cut_at, now - math.max(s.tat, s.seen)
  -- A rate that nobody uses proves nothing: above the level only busy time counts.
  if idle > 0 and since > level_s * 1000000 then s.cut_at = now - math.max(level_s * 1000000, since - idle) end
  local beyond = (now - s.cut_at) / 1000000 - level_s
  local slowly, fast = beyond / SLOW_S, math.max(0, beyond) / FAST_S
  local cube = fast * fast * fast
  local grown = slowly * slowly * slowly + cube * cube * cube
  rate = math.min(ceiling, math.max(s.cut, s.wmax * (1 + grown)))
end

-- Goodput over two spans of time.
local width, span = math.max(SPAN, 20000000 / rate), now - s.count_at
if span >= 3 * width then
  s.count, s.count_at, s.count_before, s.count_before_us = 0, now, 0, 0
elseif span >= width then
  s.count_before, s.count_before_us = s.count, span
  s.count, s.count_at = 0, now
end
s.count, s.accepted_since = s.count + ok, s.accepted_since + ok
local is_of_epoch = tonumber(ARGV[13]) == s.epoch
if is_of_epoch then s.refused_since = s.refused_since + throttled end

-- One cut per epoch, however many calls of it were throttled.
if throttled > 0 and is_of_epoch and (s.cut_at == 0 or now - s.cut_at > REFRACTORY) then
  local accepted = s.count + s.count_before
  local goodput = accepted * 1000000 / math.max(now - s.count_at + s.count_before_us, 250000)
  local known = math.min(rate, goodput)
  if s.cut_at ~= 0 and now - s.cut_at < AGAIN then
    -- The last cut was too small: how much was refused since tells by how much.
    local more_refused, share = s.refused_since - 1, 1
    if more_refused > 0 then share = s.accepted_since / (s.accepted_since + more_refused) end
    known = math.max(LEAST_AGAIN * known, math.min(known, rate * share))
  end
  -- A slow rate is cut deeper, so that many calls pass until it is throttled again.
  local cut_depth = math.min(DEEPEST, math.max(SHALLOWEST, DEPTH_CALLS / rate))
  s.cut = math.min(ceiling, math.max((1 - cut_depth) * known, LARGEST_CUT * rate, floor))
  s.wmax = math.max(s.cut, (1 - cut_depth * LEVEL_OF_DEPTH) * known)
  s.cut_at, s.epoch, s.accepted_since, s.refused_since = now, s.epoch + 1, 0, 0
  rate = s.cut
end
local silence = tonumber(ARGV[14])
if silence > 0 then s.pause = math.max(s.pause, now + math.min(silence, LONGEST_PAUSE)) end

-- The schedule before this call's wish.
local interval = 1000000 / rate
local depth = math.max(checkout_depth, interval)
if tonumber(ARGV[18]) > 0 and s.tat == tonumber(ARGV[17]) then s.tat = s.tat - tonumber(ARGV[18]) end
-- Damaged, or idle for so long that it may be a clock that jumped: no burst.
if known and (s.tat > now + FURTHEST + 4 * depth or s.tat < now - IDLE) then
  s.tat = now + math.ceil(depth - interval)
end
-- Redis lost a schedule in which the caller still holds places.
local born = tonumber(ARGV[15])
if born ~= 0 and born ~= s.born then s.tat = math.max(s.tat, math.min(tonumber(ARGV[16]), now + FURTHEST)) end
s.tat = math.max(s.tat, now)

local granted, wait, stop = 0, 0, 0
local ahead = s.tat - now
local booked_wait = math.max(0, ahead + interval - depth)

local function place_below_checkout()
  local name = 'assured_' .. lane
  local lead = batch_depth / 6 + lane_depth - batch_depth
  -- At a slow rate one call may be longer than a lane is deep: then a place is free when the schedule is.
  local room = math.max(lane_depth, interval + lead)
  local threshold = room - math.max(batch_depth / 2, interval)
  local assured_interval = interval / assured_share
  local assured = s[name]
  -- A little further than checkout, which would else fill every gap first.
  local furthest = math.min(longest_wait, FURTHEST + 2 * interval)
  if ahead <= threshold and ahead <= longest_wait then
    granted, wait = math.min(wanted, math.floor((room - ahead) / interval)), ahead
    s.tat = math.ceil(s.tat + granted * interval)
    s[name] = math.ceil(math.min(
      math.max(assured, now) + granted * assured_interval, now + math.max(1000000, assured_interval)))
  elseif assured <= now and booked_wait <= furthest then
    -- Lanes above take all: this one's assured share books like checkout.
    granted, wait = 1, booked_wait
    s.tat, s[name] = math.ceil(s.tat + interval), math.ceil(math.max(assured + assured_interval, now))
  else
    wait = math.min(
      math.max(ahead - threshold, ahead - longest_wait), math.max(assured - now, booked_wait - furthest))
  end
end

local function place()
  local next_probe_at = redis.call('HGET', KEYS[2], 'next_probe_at')
  if next_probe_at then
    local until_probe = math.max(tonumber(next_probe_at) * 1000, s.pause) - now
    stop = 1
    if until_probe > 0 then
      wait = until_probe
      return
    end
    redis.call('HSET', KEYS[2], 'next_probe_at', string.format('%.0f', now / 1000 + tonumber(ARGV[10])))
    -- The one probe is booked in any case: nobody else may send meanwhile.
    stop, granted, wait = 2, 1, booked_wait
    s.tat = math.ceil(s.tat + interval)
  elseif s.pause > now then
    wait = s.pause - now
  elseif lane > 0 then
    place_below_checkout()
  elseif booked_wait <= math.min(longest_wait, FURTHEST) then
    granted, wait = 1, booked_wait
    s.tat = math.ceil(s.tat + interval)
  else
    wait = booked_wait
    if wait <= longest_wait then wait = wait - FURTHEST end
  end
end

if wanted > 0 then place() end
s.seen = now
local kept = {}
for _, name in ipairs(NAMES) do
  kept[#kept + 1] = name
  kept[#kept + 1] = string.format('%.17g', s[name])
end
redis.call('HSET', KEYS[1], unpack(kept))
redis.call('PEXPIRE', KEYS[1], 3600000)
return {granted, math.ceil(wait), stop, string.format('%.17g', interval), string.format('%.0f', s.epoch),
  string.format('%.0f', s.born), string.format('%.17g', s.tat)}
