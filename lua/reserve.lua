-- reserve.lua: admits or refuses a batch of requests for one product.
--
-- Guarantee: units are promised to at most `counter` quantity in all; a request id holds at most once; a request
-- whose id got stock before is never told sold out; a product that is not loaded refuses nobody.
-- ARGV[1]  hold ttl, ms          ARGV[2]  lease token          ARGV[3]  lease length, ms
-- ARGV[4…] per request: request id, quantity
-- Reply: { state, counter, word… }
--   state    loaded  the words below are the gate's
--            load    not loaded; the lease is the caller's now: it loads. No words.
--            cold    not loaded, somebody else is loading. No words.
--   counter  units that may still be promised after this batch
--   word     held      units are held for this id (now, or already)
--            replay    this id got stock before: the database knows its answer
--            sold_out  fewer units than asked for
--            cold      the gate cannot say (its memory of sold ids is incomplete): ask the database
-- If the caller dies after this: the holds stay until the reconciler settles or releases them.

local gate = loaded()
if not gate then
  if lease_holder() then return { 'cold', 0 } end
  take_lease(ARGV[2], tonumber(ARGV[3]))
  return { 'load', 0 }
end

local count = (#ARGV - 3) / 2
if count == 0 then return { 'loaded', gate.counter } end

local ids, fields = {}, {}
for i = 1, count do
  ids[i] = ARGV[2 + 2 * i]
  fields[i] = 'h:' .. ids[i]
end
local holds = redis.call('HMGET', KEYS[2], unpack(fields))
local sold = redis.call('SMISMEMBER', KEYS[3], unpack(ids))

local reply = { 'loaded', 0 }
local deadline = ':' .. integer(now_ms + ARGV[1])
local counter, held_here, new_holds = gate.counter, {}, {}
for i = 1, count do
  local id, quantity = ids[i], tonumber(ARGV[3 + 2 * i])
  local word
  if holds[i] or held_here[id] then
    word = 'held'
  elseif sold[i] == 1 then
    word = 'replay'
  elseif counter >= quantity then
    word = 'held'
    held_here[id] = true
    counter = counter - quantity
    new_holds[#new_holds + 1] = fields[i]
    new_holds[#new_holds + 1] = ARGV[3 + 2 * i] .. deadline
  elseif gate.sold < gate.k then
    word = 'cold'
  else
    word = 'sold_out'
  end
  reply[2 + i] = word
end

if counter < gate.counter then
  redis.call('HSET', KEYS[2], unpack(new_holds))
  redis.call('DECRBY', KEYS[1], integer(gate.counter - counter))
end
reply[2] = counter
return reply
