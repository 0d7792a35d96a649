-- gate.lua: what every script of the gate begins with. Not run alone: the service puts it in front of each
-- of the other files, so that "loaded" and "leased" mean the same thing everywhere.
--
-- KEYS of every script, all with the product's hash tag and so in one slot:
--   KEYS[1]  stock:{id}       string, what may still be promised
--   KEYS[2]  stock:{id}:gate  hash: v, k, r, t, about, m:<version>, h:<request id>
--   KEYS[3]  stock:{id}:sold  set of the request ids that got stock, plus the empty member that keeps it
--                             in being while nothing is sold
--   KEYS[4]  stock:{id}:buyers  hash: buyer -> units he owns or has on hold, plus the empty field that keeps it in
--                             being. Only for a product with a purchase limit.

-- Redis' own clock: no deadline depends on the clock of an application. Asked only where it is needed.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers leave Lua through this: tostring() would turn large ones into 1e+14.
local function integer(number)
  return string.format('%.0f', number)
end

-- The lease `t` is "<token>:<deadline ms>". Returns the token while the lease lives, else nil. A lease past its
-- deadline is no lease for anybody, its holder included: facts that came meanwhile were not kept.
local function lease_holder()
  local lease = redis.call('HGET', KEYS[2], 't')
  if not lease then return nil end
  local token, deadline = string.match(lease, '^(.*):(%d+)$')
  if token and tonumber(deadline) > now_ms() then return token end
  return nil
end

-- Takes or renews the lease. What a load that dies leaves behind ends by itself, long after its lease.
local function take_lease(token, lease_ms)
  redis.call('HSET', KEYS[2], 't', token .. ':' .. integer(now_ms() + lease_ms))
  for i = 2, #KEYS do redis.call('PEXPIRE', KEYS[i], lease_ms * 100) end
end

-- Removes all there is: the product is not loaded then, and the next request has it loaded.
local function close()
  redis.call('DEL', unpack(KEYS))
end

-- Returns { counter, v, k, sold, limit, starts, ends, discontinued } while the product is loaded, else nil. Missing is
-- never zero: when any part is missing or not what a script wrote, what is left of it is removed, because half a gate
-- would be believed.
local function loaded()
  local counter = redis.call('GET', KEYS[1])
  local head = redis.call('HMGET', KEYS[2], 'v', 'k', 'r')
  if not counter and not head[1] then return nil end -- not loaded; perhaps loading, then ids and facts stay
  local sold = redis.call('SCARD', KEYS[3])
  -- The rules: purchase limit, start and end of the sale in ms (each empty where there is none), 1 if discontinued.
  local limit, starts, ends, discontinued = string.match(head[3] or '', '^(%d*):(%d*):(%d*):([01])$')
  local whole = counter and string.match(counter, '^%-?%d+$')
    and head[1] and string.match(head[1], '^%d+$')
    and head[2] and string.match(head[2], '^%d+$')
    and sold > 0
    and limit and (limit == '' or redis.call('HEXISTS', KEYS[4], '') == 1)
  if not whole then
    close()
    return nil
  end
  return {
    counter = tonumber(counter), v = tonumber(head[1]), k = tonumber(head[2]), sold = sold, rules = head[3],
    limit = tonumber(limit), starts = tonumber(starts), ends = tonumber(ends), discontinued = discontinued == '1',
  }
end

-- Units of buyers: a table by buyer. Nil, with the gate closed, where a value is no number.
local function owned_by(buyers)
  local owned = {}
  if #buyers == 0 then return owned end
  for i, units in ipairs(redis.call('HMGET', KEYS[4], unpack(buyers))) do
    owned[buyers[i]] = units and tonumber(units) or 0
    if units and not string.match(units, '^%-?%d+$') then
      close()
      return nil
    end
  end
  return owned
end

-- A hold is "<units>:<deadline ms>", with ":<buyer>" behind it where the product has a limit. Three functions, and no more
-- of it is read than is asked for: nearly all of a sale's holds are read for their units alone.
local function held_units(hold)
  return tonumber(string.match(hold, '^%d+'))
end
local function held_until_ms(hold)
  return tonumber(string.match(hold, '^%d+:(%d+)'))
end
local function held_by(hold)
  return string.match(hold, '^%d+:%d+:(.*)$') or ''
end

-- A fact that waits is its signed units, with ":<buyer>" behind them where it names one.
local function parse_fact(fact)
  local quantity, buyer = string.match(fact, '^(%-?%d+):?(.*)$')
  return tonumber(quantity), buyer
end
