--[[
What nodes call. The last of the three files that make the library; keys and units are in the two before.
Names end with a digest of the three files, so that releases live side by side.
]]

--[[
One pulse of one node. ARGV:
  1 node  2 epoch it knows, or empty  3 version it has seen  4 flags: b (beat), q (its rows are no news)
  5 most changes it takes  6 channel  7 tag of this shard  8 count of rows
  then count × (route, row without `at`: 48 bytes), then the routes it wants to be told in any case.
Returns epoch, version seen now, now, rows dropped, changes (route, (w, ws))…, told (route, (w, ws), own row or empty)…
]]
local function exchange(list, args)
  local now, since, flags = clock(), tonumber(args[3]) or 0, args[4]
  local count = min(tonumber(args[8]) or 0, math.floor((#args - 8) / 2))
  local keys, beats = keys_of(list, args[1]), string.find(flags, 'b', 1, true)
  local epoch, version = open_shard(keys, args[2], since, now, beats or count > 0)
  if epoch == args[2] and version == since and flags == '' and #args == 8 then
    return { epoch, version, pack('<d', now), 0, {}, {} } -- nothing to say and nothing new, as nearly always
  end
  local call = {
    args = args, node = args[1], quiet = string.find(flags, 'q', 1, true), channel = args[6], tag = args[7],
    count = count, first = 9,
  }
  if epoch ~= args[2] then
    since = version
  end
  if beats then
    beat(keys, call.node, now)
  end
  local dropped = 0
  if call.count > 0 then
    version, dropped = push(keys, call, version, now, tonumber(epoch))
  end
  local routes, reached = changes(keys, since, version, min(tonumber(args[5]) or 0, MOST_CHANGES))
  local wanted = {}
  for i = call.first + 2 * call.count, #args do
    wanted[#wanted + 1] = args[i]
  end
  return {
    epoch, reached, pack('<d', now), dropped, sums_of(keys, routes, now, false), sums_of(keys, wanted, now, true),
  }
end

--[[
A page of what is remembered. ARGV: 1 node  2 cursor  3 about how many.
Returns the next cursor, then route, (resistance, momentum, scar, timestamp, age)…: the node's own row, else the last
vector of anybody with the scar that decays to the mean of all within its age.
]]
local function recall(list, args)
  local keys, now = keys_of(list, args[1]), clock()
  local page = redis.call('HSCAN', keys.routes, args[2], 'COUNT', args[3])
  local routes, answer = {}, { page[1] }
  for i = 1, #page[2], 2 do
    routes[#routes + 1] = page[2][i]
  end
  if #routes == 0 then
    return answer
  end
  local owns = redis.call('HMGET', keys.node, unpack(routes))
  for i = 1, #routes do
    local c, own = read_record(page[2][2 * i]), read_row(owns[i])
    local v = own or c
    if v and v.at > 0 and #routes[i] <= ID_BYTES then
      local scar, age = v.s, max(now - v.at, 0)
      if not own then
        advance(c, now)
        local w, ws = totals(c)
        local mean = w > 1e-200 and ws / w * exp(age * rate_of(c)) or scar
        -- One writer's own word comes back as it was written, without the rounding.
        if mean <= SCAR_CAP and abs(mean - scar) > 1e-9 * scar then
          scar = mean
        end
      end
      answer[#answer + 1] = routes[i]
      answer[#answer + 1] = pack('<ddddd', v.r, v.m, scar, v.ts, age)
    end
  end
  return answer
end

-- Keep vectors and tell their subscribers. ARGV: 1 node  2 channel, then (route, vector: 32 bytes)… Returns how many.
local function update(list, args)
  local keys, now, kept = keys_of(list, args[1]), clock(), {}
  local full = redis.call('HLEN', keys.routes) >= MOST_ROUTES
  for i = 3, #args, 2 do
    local route, text = args[i], args[i + 1]
    local c = read_record(redis.call('HGET', keys.routes, route))
    local v = read_row(text .. pack('<ddd', 0, 0, now))
    if v and #route <= ID_BYTES and (c or not full) then
      c = c or new_record(now)
      c.r, c.m, c.s, c.ts, c.at = v.r, v.m, v.s, v.ts, now
      kept[#kept + 1], kept[#kept + 2] = route, write_record(c)
      redis.call('PUBLISH', args[2] .. '/' .. route, pack('<H', #args[1]) .. args[1] .. text)
    end
  end
  if #kept > 0 then
    redis.call('HSET', keys.routes, unpack(kept))
    redis.call('EXPIRE', keys.routes, KEEP_SHARD)
    sweep_all(keys, min(#kept, 128), now)
  end
  return #kept / 2
end

-- The vector of a route and its age (40 bytes), or nil. ARGV: 1 node  2 route
local function vector(list, args)
  local now, c = clock(), read_record(redis.call('HGET', keys_of(list, args[1]).routes, args[2]))
  return c and c.at > 0 and pack('<ddddd', c.r, c.m, c.s, c.ts, max(now - c.at, 0)) or nil
end

-- How exact the sums are. ARGV: 1 node  2 route. Returns (w, ws) as kept and (w, ws) added up anew, at one time.
local function audit(list, args)
  local keys, now = keys_of(list, args[1]), clock()
  local c = read_record(redis.call('HGET', keys.routes, args[2]))
  if not c then
    return nil
  end
  advance(c, now)
  local w, ws = totals(c)
  add_up(c, keys, args[2], now, 0)
  return pack('<dddd', w, ws, totals(c))
end

redis.register_function('atrion_exchange_@digest@', exchange)
redis.register_function('atrion_update_@digest@', update)
redis.register_function('atrion_audit_@digest@', audit)
redis.register_function({ function_name = 'atrion_recall_@digest@', callback = recall, flags = { 'no-writes' } })
redis.register_function({ function_name = 'atrion_vector_@digest@', callback = vector, flags = { 'no-writes' } })
