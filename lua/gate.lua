-- gate.lua: what every script of the gate begins with. Not run alone: the service puts it in front of each
-- of the other files, so that "loaded" and "leased" mean the same thing everywhere.
--
-- KEYS of every script, all with the product's hash tag and so in one slot:
--   KEYS[1]  stock:{id}       string, what may still be promised
--   KEYS[2]  stock:{id}:gate  hash: v, k, t, m:<version>, h:<request id>
--   KEYS[3]  stock:{id}:sold  set of the request ids that got stock, plus the empty member that keeps it
--                             in being while nothing is sold

local time = redis.call('TIME')
-- Redis' own clock: no deadline depends on the clock of an application.
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

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
  if token and tonumber(deadline) > now_ms then return token end
  return nil
end

local function take_lease(token, lease_ms)
  redis.call('HSET', KEYS[2], 't', token .. ':' .. integer(now_ms + lease_ms))
end

-- Returns { counter, v, k, sold } while the product is loaded, else nil. Missing is never zero: when any part is
-- missing or no number, what is left of it is removed, because half a gate would be believed.
local function loaded()
  local counter = redis.call('GET', KEYS[1])
  local head = redis.call('HMGET', KEYS[2], 'v', 'k')
  if not counter and not head[1] then return nil end -- not loaded; perhaps loading, then ids and facts stay
  local sold = redis.call('SCARD', KEYS[3])
  local whole = counter and string.match(counter, '^%-?%d+$')
    and head[1] and string.match(head[1], '^%d+$')
    and head[2] and string.match(head[2], '^%d+$')
    and sold > 0
  if not whole then
    redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
    return nil
  end
  return { counter = tonumber(counter), v = tonumber(head[1]), k = tonumber(head[2]), sold = sold }
end
