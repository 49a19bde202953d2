--[[
One shard: its epoch, its rows and its news. The second of the three files that make the library.

KEYS of every function, all of one shard and one hash tag:
  1 meta     hash    epoch, version; news_second, news_count
  2 routes   hash    route -> record
  3 changed  zset    route by the version at which its aggregate last changed
  4 nodes    zset    node by the second of its last beat or row
  5 node     hash    the asking node's own rows: route -> row
Times are seconds of this server's clock.
]]

-- Add a route up anew from the rows of all nodes that beat, so that rounding and expired rows leave nothing behind.
local function add_up(c, keys, route, now, born)
  c.w = 0
  for i = #c, 1, -1 do
    c[i] = nil
  end
  local prefix = keys.prefix
  local names = redis.call('ZRANGEBYSCORE', keys.nodes, now - EXPIRY, '+inf', 'LIMIT', 0, MOST_NODES)
  for i = 1, #names do
    local text = redis.call('HGET', prefix .. names[i], route)
    local row = living_row(text, born)
    if row and now - row.at <= EXPIRY then
      local rate = row.rate
      add(c, row, now, 1)
      if row.rate ~= rate then
        redis.call('HSET', prefix .. names[i], route, write_row(row))
      end
    elseif text then
      redis.call('HDEL', prefix .. names[i], route)
    end
  end
  c.t, c.exact_t = now, now
end

local function keys_of(list, node)
  return {
    meta = list[1], routes = list[2], changed = list[3], nodes = list[4], node = list[5],
    prefix = string.sub(list[5], 1, #list[5] - #node), -- of every node's key; they share this shard's hash tag
  }
end

-- Epoch and version. A shard that is new, or has lost something, gets a new epoch: the time of its birth. Whether a
-- key is gone is looked at by those who write.
local function open_shard(keys, seen, since, now, writes)
  local found = redis.call('HMGET', keys.meta, 'epoch', 'version')
  local epoch, version = found[1], tonumber(found[2] or nil)
  local born = epoch and #epoch <= 32 and tonumber(epoch)
  -- A minute's grace: after a failover the new master's clock may be behind.
  local known = born and born > 0 and born < now + 60 and version and version >= 0 and version < 2 ^ 53
  -- A node that saw a later version of this very epoch has seen what a failover has lost.
  local whole = known and (epoch ~= seen or version >= since)
  if whole and (version == 0 or not writes or redis.call('EXISTS', keys.routes, keys.changed, keys.nodes) == 3) then
    return epoch, version
  end
  epoch = string.format('%.6f', now)
  redis.call('DEL', keys.meta, keys.routes, keys.changed, keys.nodes, keys.node)
  redis.call('HSET', keys.meta, 'epoch', epoch, 'version', 0)
  return epoch, 0
end

local function may_publish(keys, now)
  local second = math.floor(now)
  local found = redis.call('HMGET', keys.meta, 'news_second', 'news_count')
  local count = tonumber(found[1] or nil) == second and tonumber(found[2] or nil) or 0
  if count >= NEWS_MOST then
    return false
  end
  redis.call('HSET', keys.meta, 'news_second', second, 'news_count', count + 1)
  return true
end

-- Let go of some random fields that nobody has touched for long.
local function sweep(key, count, stale)
  if redis.call('HLEN', key) <= SWEPT_ABOVE then
    return {}
  end
  local found, gone = redis.call('HRANDFIELD', key, count, 'WITHVALUES'), {}
  for i = 1, #found, 2 do
    if stale(found[i + 1]) then
      gone[#gone + 1] = found[i]
    end
  end
  if #gone > 0 then
    redis.call('HDEL', key, unpack(gone))
  end
  return gone
end

local function sweep_all(keys, count, now)
  sweep(keys.node, count, function(text)
    return #text ~= 56 or not (now - parse('<d', text, 49) <= EXPIRY)
  end)
  local gone = sweep(keys.routes, count, function(text)
    return not is_record(text) or not (now - max(parse('<d', text), (parse('<d', text, 89))) <= KEEP)
  end)
  if #gone > 0 then
    redis.call('ZREM', keys.changed, unpack(gone))
  end
end

-- Keep one row in its record; returns it, and whether its scar jumped and took the mean with it.
-- Nil where the row makes no sense.
local function keep_row(keys, route, text, old, c, now)
  if #route > ID_BYTES or #text ~= 48 then
    return nil
  end
  local row = read_row(text .. pack('<d', now))
  if not row then
    return nil
  end
  local before, _, _, mean = 0, totals(c)
  if old then
    before = old.s * exp(-old.rate * max(now - old.at, 0))
    add(c, old, now, -1)
  end
  add(c, row, now, 1)
  c.r, c.m, c.s, c.ts, c.at = row.r, row.m, row.s, row.ts, now
  local _, _, after = totals(c)
  return row, row.s - before > JUMP and after - mean > NEWS_STEP
end

-- Keep this node's rows; returns the version then, and how many rows were dropped.
local function push(keys, call, version, now, born)
  redis.call('ZADD', keys.nodes, now, call.node) -- whoever has rows is asked when a route is added up
  local count, routes = call.count, {}
  for i = 1, count do
    routes[i] = call.args[call.first + 2 * i - 2]
  end
  local olds = redis.call('HMGET', keys.node, unpack(routes))
  local records = redis.call('HMGET', keys.routes, unpack(routes))
  local full = redis.call('HLEN', keys.routes) >= MOST_ROUTES
  local rows, kept, scores, exact, dropped = {}, {}, {}, 0, 0
  for i = 1, count do
    local route, old, c = routes[i], living_row(olds[i], born), read_record(records[i])
    local row, jumped
    if c or not full then
      if not c then
        c = new_record(now)
        -- With a row but no record, the record was lost: other rows are missing in it too.
        c.exact_t, old = old and 0 or now, nil
      end
      advance(c, now)
      row, jumped = keep_row(keys, route, call.args[call.first + 2 * i - 1], old, c, now)
    end
    if row then
      if now - c.exact_t > EXACT_EVERY and exact < EXACT_MOST then
        exact = exact + 1
        redis.call('HSET', keys.node, route, write_row(row))
        add_up(c, keys, route, now, born)
        row = read_row(redis.call('HGET', keys.node, route)) or row
      end
      if tell(c, now) then
        version = version + 1
        scores[#scores + 1], scores[#scores + 2] = version, route
      end
      if jumped and not call.quiet and may_publish(keys, now) then
        local w, ws = totals(c)
        redis.call('PUBLISH', call.channel,
          pack('<dddHH', now, w, ws, #call.tag, #call.node) .. call.tag .. call.node .. route)
      end
      rows[#rows + 1], rows[#rows + 2] = route, write_row(row)
      kept[#kept + 1], kept[#kept + 2] = route, write_record(c)
    else
      dropped = dropped + 1
    end
  end
  if #rows > 0 then
    redis.call('HSET', keys.node, unpack(rows))
    redis.call('PEXPIRE', keys.node, 1000 * EXPIRY)
    redis.call('HSET', keys.routes, unpack(kept))
    sweep_all(keys, min(#rows, 128), now) -- two looks for each row: more goes than comes
  end
  if #scores > 0 then
    redis.call('ZADD', keys.changed, unpack(scores))
    redis.call('HSET', keys.meta, 'version', version)
  end
  return version, dropped
end

-- Say that this node lives, and let the shard live on with it.
local function beat(keys, node, now)
  redis.call('ZADD', keys.nodes, now, node)
  redis.call('ZREMRANGEBYSCORE', keys.nodes, '-inf', '(' .. (now - EXPIRY))
  for _, key in ipairs({ keys.meta, keys.routes, keys.changed, keys.nodes }) do
    redis.call('EXPIRE', key, KEEP_SHARD)
  end
end

-- Everybody's sums of routes, at `now`: route, (w, ws); with `node`, its own row as a third.
local function sums_of(keys, routes, now, with_own)
  local answer = {}
  if #routes == 0 then
    return answer
  end
  local records = redis.call('HMGET', keys.routes, unpack(routes))
  local owns = with_own and redis.call('HMGET', keys.node, unpack(routes))
  for i = 1, #routes do
    local sums = #routes[i] <= ID_BYTES and sums_at(records[i], now)
    if sums then
      answer[#answer + 1] = routes[i]
      answer[#answer + 1] = sums
      if with_own then
        answer[#answer + 1] = read_row(owns[i]) and owns[i] or ''
      end
    end
  end
  return answer
end

-- Routes that changed after `since`, at most `limit`, and how far that reaches.
local function changes(keys, since, version, limit)
  if version <= since then
    return {}, version
  end
  -- Scores above the version are garbage.
  local routes = redis.call('ZRANGEBYSCORE', keys.changed, '(' .. string.format('%.0f', since),
    string.format('%.0f', version), 'LIMIT', 0, limit)
  if #routes < limit then
    return routes, version
  end
  local reached = #routes > 0 and tonumber(redis.call('ZSCORE', keys.changed, routes[#routes]))
  return routes, reached or version
end
