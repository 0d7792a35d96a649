-- remember.lua: one chunk of the request ids that got stock, or of what buyers own, on the way to a load. Renews the
-- lease, so that a product with a long ledger can be loaded with a short one.
--
-- Guarantee: only the holder of the lease writes, and only while the product is not loaded.
-- ARGV[1]  lease token      ARGV[2]  lease length, ms      ARGV[3]  number of request ids (none: only renew)
-- ARGV[4…] request ids, then per buyer: buyer, units he owns at the version the gate will be opened with
-- Reply: remembered | lease_lost

if loaded() or lease_holder() ~= ARGV[1] then return 'lease_lost' end
local last_id = 3 + tonumber(ARGV[3])
if last_id > 3 then redis.call('SADD', KEYS[3], unpack(ARGV, 4, last_id)) end
if #ARGV > last_id then redis.call('HSET', KEYS[4], unpack(ARGV, last_id + 1)) end
take_lease(ARGV[1], tonumber(ARGV[2]))
return 'remembered'
