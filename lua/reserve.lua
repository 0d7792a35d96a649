-- reserve.lua: admits or refuses a batch of requests for one product.
--
-- Guarantee: units are promised to at most `counter` quantity in all, and to no buyer beyond his limit; a request id holds
-- at most once; a request whose id got stock before is refused by no rule; a product that is not loaded refuses nobody.
-- ARGV[1]  hold ttl, ms          ARGV[2]  lease token          ARGV[3]  lease length, ms
-- ARGV[4…] per request: request id, quantity, buyer (empty: none named)
-- Reply: { state, counter, limit, word… }
--   state    loaded  the words below are the gate's
--            load    not loaded; the lease is the caller's now: it loads. No words.
--            cold    not loaded, somebody else is loading. No words.
--   counter  units that may still be promised after this batch
--   limit    units one buyer may own; 0: no limit
--   word     held            units are held for this id (now, or already)
--            replay          this id got stock before: the database knows its answer
--            discontinued    the product cannot be sold any more
--            not_open        outside the sale window, by the clock of Redis
--            buyer_required  the product has a purchase limit, and the request names no buyer
--            limit           the buyer would own more than the limit
--            sold_out        fewer units than asked for
--            cold            the gate cannot say (its memory of sold ids is incomplete): ask the database
-- If the caller dies after this: the holds stay until the reconciler settles or releases them.

local gate = loaded()
local count = (#ARGV - 3) / 3

-- 1. Who asks.
local ids, fields, buyers, seen = {}, {}, {}, {}
for i = 1, count do
  local id, buyer = ARGV[3 * i + 1], ARGV[3 * i + 3]
  ids[i], fields[i] = id, 'h:' .. id
  if buyer ~= '' and not seen[buyer] then
    seen[buyer] = true
    buyers[#buyers + 1] = buyer
  end
end
local owned = gate and gate.limit and owned_by(buyers)

-- 2. Not loaded, or closed just now because a buyer's units were spoiled: somebody loads.
if not gate or owned == nil and gate.limit then
  if lease_holder() then return { 'cold', 0, 0 } end
  redis.call('DEL', KEYS[4]) -- what a load that died has left: units as of another version
  take_lease(ARGV[2], tonumber(ARGV[3]))
  return { 'load', 0, 0 }
end
local reply = { 'loaded', gate.counter, gate.limit or 0 }
if count == 0 then return reply end

-- 3. Each in its turn.
local holds = redis.call('HMGET', KEYS[2], unpack(fields))
local sold = redis.call('SMISMEMBER', KEYS[3], unpack(ids))
local now = now_ms()
local not_open = (gate.starts and now < gate.starts) or (gate.ends and now >= gate.ends)
local deadline = ':' .. integer(now + ARGV[1])
local counter, held_here, new_holds, bought = gate.counter, {}, {}, {}

-- Why a request that the gate has not met before gets nothing; nil: it may have its units.
local function refusal(quantity, buyer)
  if gate.discontinued then return 'discontinued' end
  if not_open then return 'not_open' end
  if gate.limit and buyer == '' then return 'buyer_required' end
  if gate.limit and owned[buyer] + quantity > gate.limit then return 'limit' end
  if counter < quantity then return 'sold_out' end
  return nil
end

for i = 1, count do
  local id, quantity, buyer = ids[i], tonumber(ARGV[3 * i + 2]), ARGV[3 * i + 3]
  local word
  if holds[i] or held_here[id] then
    word = 'held'
  elseif sold[i] == 1 then
    word = 'replay'
  else
    word = refusal(quantity, buyer)
    if not word then
      word = 'held'
      held_here[id] = true
      counter = counter - quantity
      local hold = ARGV[3 * i + 2] .. deadline
      if gate.limit then
        owned[buyer] = owned[buyer] + quantity
        bought[buyer] = owned[buyer]
        hold = hold .. ':' .. buyer
      end
      new_holds[#new_holds + 1] = fields[i]
      new_holds[#new_holds + 1] = hold
    elseif gate.sold < gate.k then
      word = 'cold'
    end
  end
  reply[3 + i] = word
end

-- 4. Write.
if #new_holds > 0 then
  redis.call('HSET', KEYS[2], unpack(new_holds))
  redis.call('DECRBY', KEYS[1], integer(gate.counter - counter))
  local changed = {}
  for buyer, units in pairs(bought) do
    changed[#changed + 1] = buyer
    changed[#changed + 1] = integer(units)
  end
  if #changed > 0 then redis.call('HSET', KEYS[4], unpack(changed)) end
end
reply[2] = counter
return reply
