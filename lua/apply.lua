-- apply.lua: tells the gate what the database has committed (facts) and which holds came to nothing (releases).
--
-- Guarantee: each ledger version changes the counter once, in whatever order and however often it arrives; a hold
-- ends once; counter = balance(v) + sum(m) - sum(holds) holds before and after, and the same for each buyer's units.
-- ARGV[1]  number of facts
-- ARGV[2…] per fact: ledger version, signed quantity, request id it settles (empty: none), buyer (empty: none). A
--          negative quantity is a sale, its id enters the sold set; a positive one gives back, the id it voids leaves
--          the set.
-- then     per release: request id
-- Reply: applied  | kept     (not loaded, but somebody is loading: the facts wait for the load)
--                 | ignored  (not loaded: a later load reads them from the database)
-- If the caller dies before this: the reconciler finds the versions in the ledger and applies them.

local fact_count = tonumber(ARGV[1])
local gate = loaded()
local keep = not gate and lease_holder() ~= nil
if not gate and not keep then return 'ignored' end

-- 1. Collect what the facts and the releases touch.
local facts, fields, enter, leave = {}, {}, {}, {}
for i = 1, fact_count do
  local at = 4 * i - 2
  local fact = {
    version = tonumber(ARGV[at]), quantity = tonumber(ARGV[at + 1]), id = ARGV[at + 2], buyer = ARGV[at + 3],
  }
  facts[i] = fact
  fields[2 * i - 1] = 'm:' .. ARGV[at]
  fields[2 * i] = 'h:' .. fact.id
  if fact.id ~= '' then
    local ids = fact.quantity < 0 and enter or leave
    ids[#ids + 1] = fact.id
  end
end
for i = 4 * fact_count + 2, #ARGV do
  fields[#fields + 1] = 'h:' .. ARGV[i]
end
if #fields == 0 then return keep and 'kept' or 'applied' end

-- 2. The sold set. `k` follows what really changed, so that a set that lost members shows.
local grown = 0
if #enter > 0 then grown = redis.call('SADD', KEYS[3], unpack(enter)) end
if #leave > 0 then grown = grown - redis.call('SREM', KEYS[3], unpack(leave)) end

if keep then
  for i = 1, fact_count do
    local fact = facts[i]
    local kept = integer(fact.quantity)
    if fact.buyer ~= '' then kept = kept .. ':' .. fact.buyer end
    redis.call('HSET', KEYS[2], fields[2 * i - 1], kept)
  end
  return 'kept'
end

-- 3. Holds end and give their units back; new versions count.
local known = redis.call('HMGET', KEYS[2], unpack(fields))
local delta, ended, seen, pending = 0, {}, {}, {}
local bought, buyers = {}, {} -- what changes for whom, where the product has a limit
local function buys(buyer, units)
  if not gate.limit or buyer == '' then return end
  if not bought[buyer] then
    bought[buyer] = 0
    buyers[#buyers + 1] = buyer
  end
  bought[buyer] = bought[buyer] + units
end
local function end_hold(index)
  local field = fields[index]
  if known[index] and not seen[field] then
    seen[field] = true
    local quantity, _, buyer = parse_hold(known[index])
    delta = delta + quantity
    buys(buyer, -quantity)
    ended[#ended + 1] = field
  end
end
for i = 1, fact_count do
  local fact = facts[i]
  end_hold(2 * i)
  if fact.version > gate.v and not known[2 * i - 1] and not pending[fact.version] then
    pending[fact.version] = fact.quantity
    delta = delta + fact.quantity
    buys(fact.buyer, -fact.quantity)
  end
end
for index = 2 * fact_count + 1, #fields do
  end_hold(index)
end

local owned = owned_by(buyers)
if not owned then return 'ignored' end

-- 4. `v` moves up over the gapless run: facts of this call, and facts that came out of order before.
local v = gate.v
while true do
  local next_version = v + 1
  if pending[next_version] then
    pending[next_version] = nil
  else
    local field = 'm:' .. integer(next_version)
    if redis.call('HDEL', KEYS[2], field) == 0 then break end
  end
  v = next_version
end

-- 5. Write.
local changed = { 'v', integer(v), 'k', integer(gate.k + grown) }
for version, quantity in pairs(pending) do
  changed[#changed + 1] = 'm:' .. integer(version)
  changed[#changed + 1] = integer(quantity)
end
redis.call('HSET', KEYS[2], unpack(changed))
if #ended > 0 then redis.call('HDEL', KEYS[2], unpack(ended)) end
local having, having_none = {}, {}
for buyer, units in pairs(bought) do
  units = owned[buyer] + units
  if units == 0 then
    having_none[#having_none + 1] = buyer
  else
    having[#having + 1] = buyer
    having[#having + 1] = integer(units)
  end
end
if #having > 0 then redis.call('HSET', KEYS[4], unpack(having)) end
if #having_none > 0 then redis.call('HDEL', KEYS[4], unpack(having_none)) end
if delta ~= 0 then redis.call('INCRBY', KEYS[1], integer(delta)) end
return 'applied'
