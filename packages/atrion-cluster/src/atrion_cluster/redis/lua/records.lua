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
-- While a library is loaded it sees neither math nor struct; every call starts with clock, which fetches them once.
local exp, max, min, abs, pack, parse

-- Read once a call: within one it goes on.
local function clock()
  if not exp then
    exp, max, min, abs, pack, parse = math.exp, math.max, math.min, math.abs, struct.pack, struct.unpack
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- --- rows -------------------------------------------------------------------------------------------------

-- Garbage is nil: NaN, infinities, negatives and what has another length.
local function read_row(text)
  if not text or #text ~= 56 then
    return nil
  end
  local r, m, s, ts, e, rate, at = parse('<ddddddd', text)
  if r >= 0 and r < huge and m >= 0 and m < huge and s >= 0 and s < huge and ts >= 0 and ts < huge
      and e >= 0 and e < huge and rate >= 0 and rate < huge and at >= 0 and at < huge then
    return { r = r, m = m, s = s, ts = ts, e = e < EVIDENCE_CAP and e or EVIDENCE_CAP, rate = rate, at = at }
  end
  return nil
end

local function write_row(row)
  return pack('<ddddddd', row.r, row.m, row.s, row.ts, row.e, row.rate, row.at)
end

-- A row kept before the shard was emptied is in no sum.
local function living_row(text, born)
  local row = read_row(text)
  return row and row.at > born - 0.000001 and row or nil
end

-- What a row adds to the sums at `now`: evidence, evidence · scar.
local function contribution(row, now)
  local scar = row.s < SCAR_CAP and row.s or SCAR_CAP
  local age = now - row.at
  if age <= 0 then
    return row.e, row.e * scar
  end
  local e = row.e * exp(-age / EVIDENCE_SECONDS)
  return e, e * scar * exp(-row.rate * age)
end

-- --- records ----------------------------------------------------------------------------------------------
-- In a table a record has its rates and sums in the array part: rate, ws, rate, ws…

local function new_record(now)
  return {
    t = now, w = 0, told_w = 0, told_mean = 0, told_t = now, told_rate = 0, exact_t = now,
    r = 0, m = 0, s = 0, ts = 0, at = 0,
  }
end

local function is_record(text)
  return text and #text >= 96 and #text <= 96 + 16 * RATES and (#text - 96) % 16 == 0
end

local function read_record(text)
  if not is_record(text) then
    return nil
  end
  local t, w, told_w, told_mean, told_t, told_rate, exact_t, r, m, s, ts, at = parse('<dddddddddddd', text)
  if not (t >= 0 and t < huge and w >= 0 and w < huge and told_w >= 0 and told_w < huge and told_mean >= 0
      and told_mean < huge and told_t >= 0 and told_t < huge and told_rate >= 0 and told_rate < huge
      and exact_t >= 0 and exact_t < huge and r >= 0 and r < huge and m >= 0 and m < huge and s >= 0 and s < huge
      and ts >= 0 and ts < huge and at >= 0 and at < huge) then
    return nil
  end
  local c = {
    t = t, w = w, told_w = told_w, told_mean = told_mean, told_t = told_t, told_rate = told_rate, exact_t = exact_t,
    r = r, m = m, s = s, ts = ts, at = at,
  }
  for i = 1, (#text - 96) / 8, 2 do
    local rate, sum = parse('<dd', text, 89 + 8 * i)
    if not (rate >= 0 and rate < huge and sum >= 0 and sum < huge) then
      return nil
    end
    c[i], c[i + 1] = rate, sum
  end
  return c
end

local function write_record(c)
  local text = pack('<dddddddddddd', c.t, c.w, c.told_w, c.told_mean, c.told_t, c.told_rate, c.exact_t,
    c.r, c.m, c.s, c.ts, c.at)
  for i = 1, #c, 2 do
    text = text .. pack('<dd', c[i], c[i + 1])
  end
  return text
end

-- Evidence and evidence · scar of everybody, packed, at `now`, straight from a record's text; nil for garbage.
local function sums_at(text, now)
  if not is_record(text) then
    return nil
  end
  local t, w = parse('<dd', text)
  local age, ws = now - t, 0
  if not (age > 0) then
    age = 0
  end
  local faded = exp(-age / EVIDENCE_SECONDS)
  for place = 97, #text, 16 do
    local rate, sum = parse('<dd', text, place)
    ws = ws + sum * faded * exp(-age * rate)
  end
  w = w * faded
  return w >= 0 and w < huge and ws >= 0 and ws < huge and pack('<dd', w, ws) or nil
end

-- Let the sums decay to `now`.
local function advance(c, now)
  local age = now - c.t
  if age <= 0 then
    return
  end
  local faded = exp(-age / EVIDENCE_SECONDS)
  c.w = c.w * faded
  for i = 1, #c, 2 do
    c[i + 1] = c[i + 1] * faded * exp(-age * c[i])
  end
  c.t = now
end

-- Where the rate is whose sum takes rows of `rate`.
local function place_of(c, rate)
  if c[1] == rate then
    return 1
  end
  local nearest, distance = nil, huge
  for i = 1, #c, 2 do
    local apart = abs(c[i] - rate)
    if apart < distance then
      nearest, distance = i, apart
    end
  end
  if distance > 0 and #c < 2 * RATES then
    nearest = #c + 1
    c[nearest], c[nearest + 1] = rate, 0
  end
  return nearest
end

local function add(c, row, now, sign)
  local e, es = contribution(row, now)
  local place = place_of(c, row.rate)
  row.rate = c[place]
  local w, ws = c.w + sign * e, c[place + 1] + sign * es
  c.w = w > 0 and w or 0
  c[place + 1] = ws > 0 and ws or 0
end

-- Evidence, evidence · scar and mean scar of everybody, at the record's time.
local function totals(c)
  local w, ws = c.w, 0
  for i = 2, #c, 2 do
    ws = ws + c[i]
  end
  return w, ws, w > 0 and ws / w or 0
end

-- The rate at which the mean decays now.
local function rate_of(c)
  local weighted, total = 0, 0
  for i = 1, #c, 2 do
    weighted, total = weighted + c[i] * c[i + 1], total + c[i + 1]
  end
  return total > 0 and weighted / total or 0
end

-- Whether others must hear of the record; if so, it counts as told.
local function tell(c, now)
  local w, _, mean = totals(c)
  local age = now - c.told_t
  if age < 0 then
    age = 0
  end
  local old_w = c.told_w * exp(-age / EVIDENCE_SECONDS)
  local old_mean = c.told_mean * exp(-age * c.told_rate)
  -- Evidence that is kept up fades for those who were told: they hear of it again before it has halved.
  local drifts = abs(w - old_w) > LIVE_EVIDENCE and (w > 2 * old_w or w < old_w / 1.5)
  if not drifts and (w < LIVE_EVIDENCE or abs(mean - old_mean) <= DEADBAND + DEADBAND_SHARE * old_mean) then
    return false
  end
  c.told_w, c.told_mean, c.told_t, c.told_rate = w, mean, now, rate_of(c)
  return true
end
