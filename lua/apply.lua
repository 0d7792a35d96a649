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
local versions, quantities, buyers, fields, enter, leave = {}, {}, {}, {}, {}, {}
for i = 1, fact_count do
  local at = 4 * i - 2
  local id = ARGV[at + 2]
  versions[i], quantities[i], buyers[i] = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 3]
  fields[2 * i - 1], fields[2 * i] = 'm:' .. ARGV[at], 'h:' .. id
  if id ~= '' then
    local ids = quantities[i] < 0 and enter or leave
    ids[#ids + 1] = id
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
    local kept = integer(quantities[i])
    if buyers[i] ~= '' then kept = kept .. ':' .. buyers[i] end
    redis.call('HSET', KEYS[2], fields[2 * i - 1], kept)
  end
  return 'kept'
end

-- 3. Holds end and give their units back; new versions count.
local known = redis.call('HMGET', KEYS[2], unpack(fields))
local delta, ended, seen, pending = 0, {}, {}, {}
local bought, changed_buyers = {}, {} -- what changes for whom, where the product has a limit
local function buys(buyer, units)
  if buyer == '' then return end
  if not bought[buyer] then
    bought[buyer] = 0
    changed_buyers[#changed_buyers + 1] = buyer
  end
  bought[buyer] = bought[buyer] + units
end
local function end_hold(index)
  local field = fields[index]
  if known[index] and not seen[field] then
    seen[field] = true
    local quantity = held_units(known[index])
    delta = delta + quantity
    if gate.limit then buys(held_by(known[index]), -quantity) end
    ended[#ended + 1] = field
  end
end
for i = 1, fact_count do
  end_hold(2 * i)
  local version = versions[i]
  if version > gate.v and not known[2 * i - 1] and not pending[version] then
    pending[version] = quantities[i]
    delta = delta + quantities[i]
    if gate.limit then buys(buyers[i], -quantities[i]) end
  end
end
for index = 2 * fact_count + 1, #fields do
  end_hold(index)
end

local owned = owned_by(changed_buyers)
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
