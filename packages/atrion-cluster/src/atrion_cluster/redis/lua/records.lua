--[[
Rows and records: how they rest, decay and add up. The first of the three files that make the library.

Numbers travel and rest as little-endian doubles. Times are seconds of this server's clock, evidence is a count,
scars and resistances are ohms, rates are per second.
  row      resistance, momentum, scar, timestamp, evidence, rate, at                                (56 bytes)
  record   t, w, told_w, told_mean, told_t, told_rate, exact_t,
           resistance, momentum, scar, timestamp, at, then (rate, ws) once for each rate         (96 + 16·n bytes)
A record's sums are those of time t: w = Σ evidence, ws = Σ evidence · scar of the rows that decay at `rate`. All
rows' evidence decays alike and scars of one rate do too, so the sums decay by common factors, exactly.
]]

-- Those of atrion.state.blending, put in when the library is loaded.
local EVIDENCE_CAP = @EVIDENCE_CAP@
local EVIDENCE_SECONDS = @EVIDENCE_SECONDS@
local LIVE_EVIDENCE = @LIVE_EVIDENCE@
local SCAR_CAP = @SCAR_CAP@
local JUMP = @JUMP@
local EXPIRY = @EXPIRY@

local DEADBAND = 0.25 -- ohms by which a mean must differ from what was told, to be told again
local DEADBAND_SHARE = 0.002 -- and the share of it
local RATES = 4 -- decay rates told apart in one route; a further one joins the nearest
local EXACT_EVERY = 60.0 -- seconds after which a touched route is added up anew from its rows
local EXACT_MOST = 2 -- routes added up anew in one call, since each asks every node
local NEWS_STEP = 2.5 -- ohms by which a jump must move the mean to be news: where many speak, a pulse tells soon enough
local NEWS_MOST = 100 -- messages a second in one shard
local KEEP = 600.0 -- seconds a route is remembered after its last row
local KEEP_SHARD = 3600 -- seconds a whole shard is remembered after its last beat
local MOST_ROUTES = 100000 -- in one shard; new ones are refused above
local MOST_CHANGES = 2000 -- in one answer, whatever is asked for
local MOST_NODES = 10000 -- that are asked when a route is added up anew
local ID_BYTES = 1024 -- of a route
local SWEPT_ABOVE = 256 -- fields from which on a hash is swept

local huge = 1 / 0

-- While a library is loaded it sees neither math nor struct, so nothing of them can be kept in a local here.

-- Read once a call: within one it goes on.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- False for NaN, infinities and what is below zero.
local function sane(...)
  for i = 1, select('#', ...) do
    local value = select(i, ...)
    if not (value >= 0 and value < huge) then
      return false
    end
  end
  return true
end

-- --- rows -------------------------------------------------------------------------------------------------

local function read_row(text)
  if not text or #text ~= 56 then
    return nil
  end
  local r, m, s, ts, e, rate, at = struct.unpack('<ddddddd', text)
  if not sane(r, m, s, ts, e, rate, at) then
    return nil
  end
  return { r = r, m = m, s = s, ts = ts, e = math.min(e, EVIDENCE_CAP), rate = rate, at = at }
end

local function write_row(row)
  return struct.pack('<ddddddd', row.r, row.m, row.s, row.ts, row.e, row.rate, row.at)
end

-- A row kept before the shard was emptied is in no sum.
local function living_row(text, born)
  local row = read_row(text)
  return row and row.at > born - 0.000001 and row or nil
end

-- What a row adds to the sums at `now`: evidence, evidence · scar.
local function contribution(row, now)
  local age = math.max(now - row.at, 0)
  local e = row.e * math.exp(-age / EVIDENCE_SECONDS)
  return e, e * math.min(row.s, SCAR_CAP) * math.exp(-row.rate * age)
end

-- --- records ----------------------------------------------------------------------------------------------

local function new_record(now)
  return {
    t = now, w = 0, told_w = 0, told_mean = 0, told_t = now, told_rate = 0, exact_t = now,
    r = 0, m = 0, s = 0, ts = 0, at = 0, rates = {}, sums = {},
  }
end

local function read_record(text)
  if not text or #text < 96 or #text > 96 + 16 * RATES or (#text - 96) % 16 ~= 0 then
    return nil
  end
  local c = {}
  c.t, c.w, c.told_w, c.told_mean, c.told_t, c.told_rate, c.exact_t, c.r, c.m, c.s, c.ts, c.at =
    struct.unpack('<dddddddddddd', text)
  if not (sane(c.t, c.w, c.told_w, c.told_mean, c.told_t, c.told_rate, c.exact_t)
      and sane(c.r, c.m, c.s, c.ts, c.at)) then
    return nil
  end
  c.rates, c.sums = {}, {}
  for place = 97, #text, 16 do
    local rate, sum = struct.unpack('<dd', text, place)
    if not sane(rate, sum) then
      return nil
    end
    c.rates[#c.rates + 1], c.sums[#c.sums + 1] = rate, sum
  end
  return c
end

local function write_record(c)
  local text = struct.pack('<dddddddddddd', c.t, c.w, c.told_w, c.told_mean, c.told_t, c.told_rate, c.exact_t,
    c.r, c.m, c.s, c.ts, c.at)
  for i = 1, #c.rates do
    text = text .. struct.pack('<dd', c.rates[i], c.sums[i])
  end
  return text
end

-- Let the sums decay to `now`.
local function advance(c, now)
  local age = now - c.t
  if age <= 0 then
    return
  end
  c.w = c.w * math.exp(-age / EVIDENCE_SECONDS)
  for i = 1, #c.rates do
    c.sums[i] = c.sums[i] * math.exp(-age * (1 / EVIDENCE_SECONDS + c.rates[i]))
  end
  c.t = now
end

-- The sum that takes rows of `rate`.
local function place_of(c, rate)
  local nearest, distance = nil, huge
  for i = 1, #c.rates do
    local apart = math.abs(c.rates[i] - rate)
    if apart < distance then
      nearest, distance = i, apart
    end
  end
  if distance > 0 and #c.rates < RATES then
    nearest = #c.rates + 1
    c.rates[nearest], c.sums[nearest] = rate, 0
  end
  return nearest
end

local function add(c, row, now, sign)
  local e, es = contribution(row, now)
  local place = place_of(c, row.rate)
  row.rate = c.rates[place]
  c.w = math.max(c.w + sign * e, 0)
  c.sums[place] = math.max(c.sums[place] + sign * es, 0)
end

-- Evidence and evidence · scar of everybody, at the record's time.
local function totals(c)
  local ws = 0
  for i = 1, #c.sums do
    ws = ws + c.sums[i]
  end
  return c.w, ws
end

local function mean_of(c)
  local w, ws = totals(c)
  return w > 0 and ws / w or 0
end

-- The rate at which the mean decays now.
local function rate_of(c)
  local weighted, total = 0, 0
  for i = 1, #c.sums do
    weighted, total = weighted + c.rates[i] * c.sums[i], total + c.sums[i]
  end
  return total > 0 and weighted / total or 0
end

-- Whether others must hear of the record; if so, it counts as told.
local function tell(c, now)
  local w, mean = c.w, mean_of(c)
  local age = math.max(now - c.told_t, 0)
  local old_w = c.told_w * math.exp(-age / EVIDENCE_SECONDS)
  local old_mean = c.told_mean * math.exp(-age * c.told_rate)
  local drifts = math.abs(w - old_w) > math.max(old_w / 3, LIVE_EVIDENCE)
  if not drifts and (w < LIVE_EVIDENCE or math.abs(mean - old_mean) <= DEADBAND + DEADBAND_SHARE * old_mean) then
    return false
  end
  c.told_w, c.told_mean, c.told_t, c.told_rate = w, mean, now, rate_of(c)
  return true
end

