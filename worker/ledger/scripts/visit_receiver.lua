-- A worker process tells how its tries at a receiver went, and borrows places for further ones.
-- KEYS[1] receiver (hash: the circuit, and disabled_at)
-- KEYS[2] borrowed places (hash: process -> 'places:lease_until:number of its last visit'); of one slot
-- ARGV[1] process (random)    ARGV[2] number of this visit    ARGV[3] places wanted    ARGV[4] places in use
-- ARGV[5] ms of the lease     ARGV[6] most places of all processes together, for who asks
-- ARGV[7] tries since the last visit that were answered    ARGV[8] that failed    ARGV[9] that failed since the last answer
-- ARGV[10] '1' if the receiver said 410: it is disabled     ARGV[11] random share in [0, 1)
-- ARGV[12] failures in a row that open the circuit          ARGV[13] ms it is open at first    ARGV[14] ms at most
-- ARGV[15] ms in which a recovered receiver gets all its places back, one after the other
-- Returns {state, places, ms until it is worth asking again}.
--   passing: tries may be made in that many places    full: no place more than those in use is free
--   probe: one place, to find out whether the receiver is back    blocked: the circuit is open    disabled: no tries at all
-- Fields of the circuit: answered, failed (both halved every 30 s), tallied_at, streak; tripped, open_until, openings;
-- probe, probe_until; recovered_at. A receiver without failures has none of them.
-- Safe to resend: the number of the visit keeps tallies from being counted twice; what is borrowed is borrowed once.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, wanted, in_use, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local answered, failed, ramp_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[15])
local flat, circuit = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #flat, 2 do circuit[flat[i]] = flat[i + 1] end
local function number(name) return tonumber(circuit[name] or '0') or 0 end
local function text(value) return string.format('%.17g', value) end

local others, holders, is_again = 0, 1, false
local borrowed = redis.call('HGETALL', KEYS[2])
for i = 1, #borrowed, 2 do
  local places, until_ms, visit = string.match(borrowed[i + 1], '^(%d+):(%d+):(%d+)$')
  if borrowed[i] == me then
    is_again = visit == ARGV[2]
  elseif not places or tonumber(until_ms) <= now then
    redis.call('HDEL', KEYS[2], borrowed[i])
  else
    others, holders = others + tonumber(places), holders + 1
  end
end

if ARGV[10] == '1' and not circuit.disabled_at then
  circuit.disabled_at = string.format('%.0f', now)
  redis.call('HSET', KEYS[1], 'disabled_at', circuit.disabled_at, 'disabled_by', '410')
end

local function open()
  local openings = number('openings') + 1
  local interval = math.min(tonumber(ARGV[13]) * 2 ^ (openings - 1), tonumber(ARGV[14]))
  interval = interval * (0.8 + 0.4 * tonumber(ARGV[11]))
  circuit.tripped, circuit.openings, circuit.open_until = '1', text(openings), text(math.floor(now + interval))
  redis.call('HDEL', KEYS[1], 'probe', 'probe_until', 'recovered_at')
  circuit.probe, circuit.probe_until, circuit.recovered_at = nil, nil, nil
  redis.call('HSET', KEYS[1], 'tripped', '1', 'openings', circuit.openings, 'open_until', circuit.open_until)
end

local is_ramp = circuit.recovered_at and now - number('recovered_at') < ramp_ms
if circuit.recovered_at and not is_ramp and not circuit.tripped then
  redis.call('HDEL', KEYS[1], 'recovered_at', 'openings')
  circuit.recovered_at, circuit.openings = nil, nil
end
if not is_again and answered + failed > 0 then
  if circuit.tripped then
    if circuit.probe == me then
      if failed > 0 then
        open()
      else
        redis.call('HDEL', KEYS[1], 'tripped', 'open_until', 'probe', 'probe_until', 'answered', 'failed', 'streak')
        circuit.tripped, circuit.recovered_at, is_ramp = nil, text(now), true
        redis.call('HSET', KEYS[1], 'recovered_at', circuit.recovered_at)
      end
    end -- else: the last of the tries that were begun before it opened
  else
    local kept = 0.5 ^ (math.max(now - number('tallied_at'), 0) / 30000)
    local good, bad = number('answered') * kept + answered, number('failed') * kept + failed
    local streak = answered > 0 and tonumber(ARGV[9]) or number('streak') + failed
    if bad < 0.5 and streak == 0 then
      redis.call('HDEL', KEYS[1], 'answered', 'failed', 'tallied_at', 'streak')
    else
      redis.call('HSET', KEYS[1], 'answered', text(good), 'failed', text(bad), 'tallied_at', text(now), 'streak', streak)
    end
    local row = tonumber(ARGV[12])
    -- Just back, and most tries fail: it is not back. One that fails now and then, as it may for ever, is.
    if is_ramp and bad >= good then row = math.min(row, 2) end
    if failed > 0 and (streak >= row or (good + bad >= 2 * row and bad >= good)) then open() end
  end
end
if circuit.probe == me and in_use == 0 then
  redis.call('HDEL', KEYS[1], 'probe', 'probe_until') -- there was nothing to send
  circuit.probe = nil
end

local state, places, come_back = 'passing', 0, 0
if circuit.disabled_at then
  state, places, come_back = 'disabled', in_use, 5000
elseif circuit.tripped and number('open_until') > now then
  state, places, come_back = 'blocked', in_use, number('open_until') - now
elseif circuit.tripped and circuit.probe and number('probe_until') > now then
  state, places, come_back = 'blocked', in_use, number('probe_until') - now
elseif circuit.tripped then
  state, places, come_back = 'blocked', in_use, 1000 -- its own last tries are still under way
  if in_use == 0 and wanted > 0 then
    state, places, come_back = 'probe', 1, 0
    redis.call('HSET', KEYS[1], 'probe', me, 'probe_until', text(now + tonumber(ARGV[5])))
  end
else
  local limit = most
  if is_ramp then limit = math.min(most, 1 + math.floor((now - number('recovered_at')) * most / ramp_ms)) end
  places = math.min(wanted, limit - others)
  if holders > 1 then places = math.min(places, math.ceil(limit / holders)) end
  places = math.max(places, in_use)
  if places < wanted then state, come_back = (places > in_use) and 'passing' or 'full', 250 end
end
if wanted == 0 and in_use == 0 then
  redis.call('HDEL', KEYS[2], me)
else
  redis.call('HSET', KEYS[2], me, string.format('%d:%.0f:%s', places, now + tonumber(ARGV[5]), ARGV[2]))
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return {state, places, math.ceil(come_back)}
