-- load.lua: opens the gate of a product with a balance that was read from the database under the lease.
--
-- Guarantee: never overwrites a loaded product; needs the caller's own, living lease; facts that arrived while the
-- balance was being read are counted once.
-- ARGV[1]  balance, units      ARGV[2]  its ledger version      ARGV[3]  lease token
-- ARGV[4]  life of the keys, ms: past it they vanish and the next request loads anew, which is what keeps the set of
--          sold ids from growing for ever
-- Reply: loaded | already_loaded | lease_lost

if loaded() then return 'already_loaded' end
if lease_holder() ~= ARGV[3] then return 'lease_lost' end

local counter, v = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept, gone = {}, { 't' }
local fields = redis.call('HGETALL', KEYS[2])
for i = 1, #fields, 2 do
  local version = tonumber(string.match(fields[i], '^m:(%d+)$'))
  if version and version <= v then
    gone[#gone + 1] = fields[i]
  elseif version then
    kept[version] = fields[i]
    counter = counter + tonumber(fields[i + 1])
  end
end
while kept[v + 1] do
  v = v + 1
  gone[#gone + 1] = kept[v]
end

for first = 1, #gone, 4000 do
  redis.call('HDEL', KEYS[2], unpack(gone, first, math.min(first + 3999, #gone)))
end
redis.call('SADD', KEYS[3], '')
redis.call('HSET', KEYS[2], 'v', integer(v), 'k', redis.call('SCARD', KEYS[3]))
redis.call('SET', KEYS[1], integer(counter))
local expires_at = integer(now_ms + ARGV[4])
for i = 1, 3 do redis.call('PEXPIREAT', KEYS[i], expires_at) end
return 'loaded'
