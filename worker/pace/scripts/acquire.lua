-- Counts what became of earlier calls, and gives places in the schedule of an account's action to one lane.
-- KEYS[1] schedule (hash; instants are Unix us by this server's clock: born, seen, tat (free again at), cut_at, pause, …)
-- KEYS[2] stop of the account (hash: code, fails, next_probe_at in Unix ms), absent while the account is good
-- KEYS[3] circuit of the endpoint (hash: counts of answered and unanswered calls; next_probe_at, Unix ms, while open)
-- KEYS[4] the operator's orders (hash: per_second, paused_checkout, …), absent without any
-- KEYS[5] who waits (hash: process and lane -> count:Unix ms)
-- ARGV[1] lane: 0 checkout (books a place in the future), 1 renewal, 2 batch    ARGV[2] places wanted, 0 to report only
-- ARGV[3] longest wait the caller can stand, us    ARGV[4] most calls in any second, where no order says otherwise
-- ARGV[5], [6], [7] how far ahead of now the schedule may run for checkout, for this lane, for batch, us
-- ARGV[8] share of the rate assured to each lane below checkout
-- ARGV[9] ms for which a probe of a stopped account or an open circuit keeps all others from probing
-- ARGV[10] calls that were processed    ARGV[11] calls that were throttled, granted in epoch ARGV[12]
-- ARGV[13] us for which the provider wants silence, 0 for none
-- ARGV[14], [15] the caller's last reply: born and tat, 0 for none
-- ARGV[16] tat after a lease of whose end places went unused, 0 for none    ARGV[17] how long these are, us
-- ARGV[18] 1: the places are for calls tried before, and cost the retry budget
-- ARGV[19] retries per second in any case    ARGV[20] retries for each processed call
-- ARGV[21] calls that the endpoint did not answer, or with its own failure
-- ARGV[22] what the circuit's probe came to: 1 answered, 2 not, 0 no news
-- ARGV[23], [24] how many unanswered calls, and what share of all, open the circuit
-- ARGV[25], [26] first and longest interval between the probes of an open circuit, ms
-- ARGV[27] the caller's field among those who wait, '' to leave it    ARGV[28] how many wait in it
-- Returns {granted, wait_us, reason, probes, again_us, us between two places, epoch, born, tat}, the last four as
-- strings: with places, the first is to be used after wait_us; without, it is worth asking again after it. again_us: the
-- same for a lane below checkout that wanted more than it got.
-- reason, without places: 0 the rate, 1 the account is stopped, 2 the circuit is open, 3 the lane is paused by the
-- operator, 4 the retry budget is used up. probes, with places: 1 it is the account's one probe, 2 the circuit's, 3 both.
-- A resend takes places twice (the rate is kept, the first ones are forgone) and counts processed calls twice, which
-- can only soften one cut; unanswered calls counted twice open the circuit sooner. A throttled call cuts once: the first
-- run began a new epoch. What comes back unused does so once: the schedule has moved.
-- The rules, and how their figures were found: docs/decisions/0010-one-adaptive-pace.md.
local SLOW_S, FAST_S = 10, 7
local LARGEST_CUT, DEPTH_CALLS, SHALLOWEST, DEEPEST, LEVEL_OF_DEPTH = 0.5, 0.8, 0.02, 0.05, 0.33
local AGAIN, LEAST_AGAIN, REFRACTORY, SPAN = 1600000, 0.95, 500000, 1000000
local FURTHEST, IDLE, LONGEST_PAUSE = 2000000, 2000000, 60000000
local RETRIES_SAVED_S, PAUSED_AGAIN, PROBED_AGAIN = 2, 1000000, 1000000
local CIRCUIT_SPAN_MS, CIRCUIT_BUSY_SPAN_MS, CIRCUIT_MANY, CIRCUIT_KEPT_MS = 10000, 1000, 50, 600000
local CIRCUIT_RAMP_MS, CIRCUIT_RAMP_FROM = 5000, 0.1
local BY_ACCOUNT, BY_CIRCUIT, BY_OPERATOR, BY_BUDGET = 1, 2, 3, 4
local LANES, MOST_WHO_WAIT = {'checkout', 'renewal', 'batch'}, 512

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = now / 1000
local lane, wanted, longest_wait = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local checkout_depth, lane_depth, batch_depth = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local assured_share, probe_ms = tonumber(ARGV[8]), tonumber(ARGV[9])
local ok, throttled, unwell = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[21])

local function numbers(names, held)
  local fields = {}
  for place, name in ipairs(names) do fields[name] = tonumber(held[place] or '0') or 0 end
  return fields
end

local function changes(names, fields, before)
  local changed = {}
  for _, name in ipairs(names) do
    if fields[name] ~= before[name] then
      changed[#changed + 1] = name
      changed[#changed + 1] = string.format('%.17g', fields[name])
    end
  end
  return changed
end

local function copy(fields)
  local copied = {}
  for name, value in pairs(fields) do copied[name] = value end
  return copied
end

local orders = redis.call('HMGET', KEYS[4], 'per_second', 'paused_' .. LANES[lane + 1])
local per_second = tonumber(orders[1] or ARGV[4]) or tonumber(ARGV[4])
local ceiling = per_second / (1 + checkout_depth / 1000000)
local floor = math.min(1, ceiling / 2)

local NAMES = {'born', 'seen', 'tat', 'epoch', 'cut', 'wmax', 'cut_at', 'last_cut', 'count', 'count_at', 'count_before',
  'count_before_us', 'accepted_since', 'refused_since', 'assured_1', 'assured_2', 'turn_0', 'turn_1', 'turn_2', 'pause', 'retry_tokens', 'retry_at',
  'rate', 'minute', 'sent', 'throttled', 'unwell', 'sent_before', 'throttled_before', 'unwell_before'}
local s = numbers(NAMES, redis.call('HMGET', KEYS[1], unpack(NAMES)))
local held = copy(s)
local known = s.born ~= 0
if not known then
  -- First call, or Redis lost it: start as if the burst were used up, so that it is never given twice.
  local interval = 1000000 / ceiling
  for _, name in ipairs(NAMES) do s[name] = 0 end
  s.born, s.seen, s.epoch, s.count_at, s.retry_at = now, now, now, now, now
  s.tat = now + math.max(checkout_depth, interval) - interval
  s.retry_tokens = tonumber(ARGV[19])
elseif now < s.seen then
  -- The clock jumped back: all instants go with it.
  local ahead = s.seen - now
  for _, name in ipairs({'tat', 'count_at', 'assured_1', 'assured_2', 'turn_0', 'turn_1', 'turn_2', 'pause', 'retry_at'}) do
    s[name] = s[name] - ahead
  end
  if s.cut_at ~= 0 then s.cut_at, s.last_cut = s.cut_at - ahead, s.last_cut - ahead end
  s.seen = now
end

-- The circuit of the endpoint: opened by a share of calls without an answer, closed by the answer to one probe.
local CIRCUIT = {'ok', 'bad', 'ok_before', 'bad_before', 'at', 'opened_at', 'next_probe_at', 'fails', 'probing', 'closed_at'}
local c = numbers(CIRCUIT, redis.call('HMGET', KEYS[3], unpack(CIRCUIT)))
local c_held = copy(c)
local first_probe_ms, longest_probe_ms = tonumber(ARGV[25]), tonumber(ARGV[26])
local function count_answers()
  local answered = ok + throttled
  if answered + unwell == 0 then return end
  local span = now_ms - c.at
  if span < 0 or span >= 2 * CIRCUIT_SPAN_MS then
    c.ok, c.bad, c.ok_before, c.bad_before, c.at = 0, 0, 0, 0, now_ms
  elseif span >= CIRCUIT_SPAN_MS or (span >= CIRCUIT_BUSY_SPAN_MS and c.ok + c.bad >= CIRCUIT_MANY) then
    c.ok, c.bad, c.ok_before, c.bad_before, c.at = 0, 0, c.ok, c.bad, now_ms
  end
  c.ok, c.bad = c.ok + answered, c.bad + unwell
  local bad = c.bad + c.bad_before
  if c.next_probe_at == 0 and unwell > 0 and bad >= tonumber(ARGV[23])
      and bad >= tonumber(ARGV[24]) * (bad + c.ok + c.ok_before) then
    c.opened_at, c.fails, c.next_probe_at, c.closed_at = now_ms, 1, now_ms + first_probe_ms, 0
  end
end
count_answers()
if c.next_probe_at ~= 0 then
  if tonumber(ARGV[22]) == 1 then
    for _, name in ipairs(CIRCUIT) do c[name] = 0 end
    c.closed_at, c.at = now_ms, now_ms
  elseif tonumber(ARGV[22]) == 2 then
    c.fails, c.probing = c.fails + 1, 0
    c.next_probe_at = now_ms + math.min(longest_probe_ms, first_probe_ms * 2 ^ math.min(c.fails - 1, 30))
  end
end

-- The rate: from the cut back to the level where calls were throttled, hesitating there, then on and faster.
local rate = ceiling
if s.cut_at ~= 0 then
  -- Rounded, so that no platform's last binary digit decides.
  local level_s = math.floor(SLOW_S * (1 - s.cut / s.wmax) ^ (1 / 3) * 1000 + 0.5) / 1000
  local since, idle = now - s.cut_at, now - math.max(s.tat, s.seen)
  -- A rate that nobody uses proves nothing: above the level only busy time counts, so cut_at moves with idle time.
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
local is_of_epoch = tonumber(ARGV[12]) == s.epoch
if is_of_epoch then s.refused_since = s.refused_since + throttled end

-- One cut per epoch, however many calls of it were throttled.
if throttled > 0 and is_of_epoch and (s.last_cut == 0 or now - s.last_cut > REFRACTORY) then
  local accepted = s.count + s.count_before
  local goodput = accepted * 1000000 / math.max(now - s.count_at + s.count_before_us, 250000)
  local good = math.min(rate, goodput)
  if s.last_cut ~= 0 and now - s.last_cut < AGAIN then
    -- The last cut was too small: how much was refused since tells by how much.
    local more_refused, share = s.refused_since - 1, 1
    if more_refused > 0 then share = s.accepted_since / (s.accepted_since + more_refused) end
    good = math.max(LEAST_AGAIN * good, math.min(good, rate * share))
  end
  -- A slow rate is cut deeper, so that many calls pass until it is throttled again.
  local cut_depth = math.min(DEEPEST, math.max(SHALLOWEST, DEPTH_CALLS / rate))
  s.cut = math.min(ceiling, math.max((1 - cut_depth) * good, LARGEST_CUT * rate, floor))
  s.wmax = math.max(s.cut, (1 - cut_depth * LEVEL_OF_DEPTH) * good)
  s.cut_at, s.last_cut, s.epoch, s.accepted_since, s.refused_since = now, now, s.epoch + 1, 0, 0
  rate = s.cut
end
local silence = tonumber(ARGV[13])
if silence > 0 then s.pause = math.max(s.pause, now + math.min(silence, LONGEST_PAUSE)) end
-- An endpoint that was away is not met with all at once.
if c.closed_at ~= 0 then
  local back = math.max(0, math.min(1, (now_ms - c.closed_at) / CIRCUIT_RAMP_MS))
  rate = math.max(math.min(rate, floor), rate * (CIRCUIT_RAMP_FROM + (1 - CIRCUIT_RAMP_FROM) * back))
end

-- The retry budget.
local retries_per_second, retry_share = tonumber(ARGV[19]), tonumber(ARGV[20])
local saved = RETRIES_SAVED_S * (retries_per_second + retry_share * rate)
local retries_due = retries_per_second * math.max(0, now - s.retry_at) / 1000000
s.retry_tokens, s.retry_at = math.min(saved, s.retry_tokens + retries_due + retry_share * ok), now

-- The schedule before this call's wish.
local interval = 1000000 / rate
local depth = math.max(checkout_depth, interval)
if tonumber(ARGV[17]) > 0 and s.tat == tonumber(ARGV[16]) then s.tat = s.tat - tonumber(ARGV[17]) end
-- Damaged, or idle for so long that it may be a clock that jumped: no burst.
if known and (s.tat > now + FURTHEST + 4 * depth or s.tat < now - IDLE) then
  s.tat = now + math.ceil(depth - interval)
end
-- Redis lost a schedule in which the caller still holds places.
local born = tonumber(ARGV[14])
if born ~= 0 and born ~= s.born then s.tat = math.max(s.tat, math.min(tonumber(ARGV[15]), now + FURTHEST)) end
s.tat = math.max(s.tat, now)

local granted, wait, reason, probes, again = 0, 0, 0, 0, 0
local ahead = s.tat - now
local booked_wait = math.max(0, ahead + interval - depth)

local function book()
  granted, wait = 1, booked_wait
  s.tat = math.ceil(s.tat + interval)
end

local function place_below_checkout(most)
  local assured_name, turn_name = 'assured_' .. lane, 'turn_' .. lane
  local lead = batch_depth / 6 + lane_depth - batch_depth
  -- At a slow rate one call may be longer than a lane is deep: then a place is free when the schedule is.
  local room = math.max(lane_depth, interval + lead)
  local quantum = math.max(batch_depth / 2, interval)
  local threshold = room - math.max(batch_depth / 4, interval)
  local assured_interval = interval / assured_share
  local assured = s[assured_name]
  -- A little further than checkout, which would else fill every gap first.
  local furthest = math.min(longest_wait, FURTHEST + 2 * interval)
  if ahead <= threshold and ahead <= longest_wait then
    granted, wait = math.min(most, math.floor((room - ahead) / interval)), ahead
    s.tat = math.ceil(s.tat + granted * interval)
    s[assured_name] = math.ceil(math.min(
      math.max(assured, now) + granted * assured_interval, now + math.max(1000000, assured_interval)))
  elseif assured <= now and booked_wait <= furthest then
    -- Lanes above take all: this one's assured share books like checkout.
    book()
    s[assured_name] = math.ceil(math.max(assured + assured_interval, now))
  end
  if granted == wanted then return end
  -- Those who want more come back in turn, a quantum apart: for the same room all but the first would come in vain.
  local left = s.tat - now
  local until_room = math.max(left - threshold, left - longest_wait)
  local until_assured = math.max(s[assured_name] - now, left - (furthest - interval + depth))
  local soonest = math.max(0, math.min(until_room, until_assured))
  local turn = math.max(now + soonest, math.min(s[turn_name], now + soonest + FURTHEST))
  s[turn_name] = math.ceil(turn + math.min((wanted - granted) * interval, quantum))
  again = turn - now
  if granted == 0 then wait = again end
end

local function place_checkout()
  if booked_wait <= math.min(longest_wait, FURTHEST) then return book() end
  wait = booked_wait
  if wait > longest_wait then return end
  -- So many are booked that the others come back in turn.
  local soonest = booked_wait - FURTHEST
  local turn = math.max(now + soonest, s.turn_0)
  wait = turn - now
  if wait <= longest_wait then s.turn_0 = math.ceil(turn + interval) end
end

local function probe(account_probe_at)
  local probe_at_ms = math.max(tonumber(account_probe_at or '0'), c.next_probe_at)
  local until_probe = math.max(probe_at_ms * 1000, s.pause) - now
  if until_probe > 0 then
    reason, wait = account_probe_at and BY_ACCOUNT or BY_CIRCUIT, until_probe
    -- The probe's answer will open the way, or tell when the next one is due.
    if reason == BY_CIRCUIT and c.probing ~= 0 then wait = math.min(wait, PROBED_AGAIN) end
    return
  end
  if account_probe_at then
    probes = 1
    redis.call('HSET', KEYS[2], 'next_probe_at', string.format('%.0f', now_ms + probe_ms))
  end
  if c.next_probe_at ~= 0 then
    probes = probes + 2
    c.next_probe_at, c.probing = now_ms + probe_ms, 1
  end
  book() -- in any case: nobody else may send meanwhile
end

local function place()
  if orders[2] then
    reason, wait = BY_OPERATOR, PAUSED_AGAIN
    return
  end
  local account_probe_at = redis.call('HGET', KEYS[2], 'next_probe_at')
  if account_probe_at or c.next_probe_at ~= 0 then return probe(account_probe_at) end
  local most = wanted
  if s.pause > now then
    wait = s.pause - now
    return
  end
  if ARGV[18] == '1' then
    most = math.min(wanted, math.floor(s.retry_tokens))
    if most < 1 then
      reason, wait = BY_BUDGET, (1 - s.retry_tokens) * 1000000 / retries_per_second
      return
    end
  end
  if lane > 0 then place_below_checkout(most) else place_checkout() end
  if ARGV[18] == '1' then s.retry_tokens = s.retry_tokens - granted end
end

if wanted > 0 then place() end
s.seen, s.rate = now, rate

-- What happened in this minute and the one before, for people.
local minute = math.floor(now / 60000000)
if minute ~= s.minute then
  for _, name in ipairs({'sent', 'throttled', 'unwell'}) do
    s[name .. '_before'] = minute == s.minute + 1 and s[name] or 0
    s[name] = 0
  end
  s.minute = minute
end
s.sent, s.throttled, s.unwell = s.sent + granted, s.throttled + throttled, s.unwell + unwell

local moved = changes(NAMES, s, held)
if #moved > 0 then redis.call('HSET', KEYS[1], unpack(moved)) end
redis.call('PEXPIRE', KEYS[1], 3600000)
local news = changes(CIRCUIT, c, c_held)
if #news > 0 then redis.call('HSET', KEYS[3], unpack(news)) end
if ok + throttled + unwell > 0 then redis.call('PEXPIRE', KEYS[3], CIRCUIT_KEPT_MS) end
if ARGV[27] ~= '' then
  if redis.call('HLEN', KEYS[5]) > MOST_WHO_WAIT then redis.call('DEL', KEYS[5]) end -- of processes long gone
  redis.call('HSET', KEYS[5], ARGV[27], ARGV[28] .. ':' .. string.format('%.0f', now_ms))
  redis.call('PEXPIRE', KEYS[5], 60000)
end
return {granted, math.ceil(wait), reason, probes, math.ceil(again), string.format('%.17g', interval), string.format('%.0f', s.epoch),
  string.format('%.0f', s.born), string.format('%.17g', s.tat)}
