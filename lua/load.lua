-- load.lua: opens the gate of a product with a balance that was read from the database under the lease.
--
-- Guarantee: never overwrites a loaded product; needs the caller's own, living lease; facts that arrived while the
-- balance was being read are counted once.
-- ARGV[1]  balance, units      ARGV[2]  its ledger version      ARGV[3]  lease token
-- ARGV[4]  rules: "<limit>:<start ms>:<end ms>:<1 if discontinued, else 0>", the first three empty where there is none
-- ARGV[5]  life of the keys, ms: past it they vanish and the next request loads anew, which is what keeps the set of
--          sold ids from growing for ever
-- Reply: loaded | already_loaded | lease_lost

-- For people who look into Redis. It is longer than 64 bytes for a reason: from then on Redis keeps this hash as a
-- table, for good. A small hash is a list otherwise, and each of a batch's look-ups reads through all of it.
local ABOUT = 'Gate of one hot product: ledger version, sale rules, and holds in flight; see gate.lua of hotstock.'

if loaded() then return 'already_loaded' end
if lease_holder() ~= ARGV[3] then return 'lease_lost' end

local counter, v = tonumber(ARGV[1]), tonumber(ARGV[2])
local limit = string.match(ARGV[4], '^(%d*):')
local kept, gone, bought = {}, { 't' }, {}
local fields = redis.call('HGETALL', KEYS[2])
for i = 1, #fields, 2 do
  local version = tonumber(string.match(fields[i], '^m:(%d+)$'))
  if version and version <= v then
    gone[#gone + 1] = fields[i]
  elseif version then
    local quantity, buyer = parse_fact(fields[i + 1])
    kept[version] = fields[i]
    counter = counter + quantity
    bought[buyer] = (bought[buyer] or 0) - quantity
  end
end
while kept[v + 1] do
  v = v + 1
  gone[#gone + 1] = kept[v]
end

if limit ~= '' then
  redis.call('HSET', KEYS[4], '', '0')
  for buyer, units in pairs(bought) do
    if buyer ~= '' and redis.call('HINCRBY', KEYS[4], buyer, integer(units)) == 0 then
      redis.call('HDEL', KEYS[4], buyer)
    end
  end
end
for first = 1, #gone, 4000 do
  redis.call('HDEL', KEYS[2], unpack(gone, first, math.min(first + 3999, #gone)))
end
redis.call('SADD', KEYS[3], '')
redis.call('HSET', KEYS[2], 'v', integer(v), 'k', redis.call('SCARD', KEYS[3]), 'r', ARGV[4], 'about', ABOUT)
redis.call('SET', KEYS[1], integer(counter))
local expires_at = integer(now_ms() + ARGV[5])
for i = 1, #KEYS do redis.call('PEXPIREAT', KEYS[i], expires_at) end
return 'loaded'
